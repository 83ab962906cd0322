#include "net/link_handshake.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace coel::net {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

constexpr auto first_back_off = 200ms;
constexpr auto last_back_off = 5000ms;
constexpr auto rest_time = 30000ms;  // after a refusal or a goodbye
constexpr auto short_rest = 5000ms;  // after a refusal by the socket: it may be too many attempts
constexpr auto stable_time = 1000ms; // up so long: the next failure is a new one
constexpr auto connect_patience = 3000ms;
constexpr auto impatient_after = 500ms; // of connecting, once they are known to live
constexpr auto greeting_patience = 3000ms;
constexpr auto hello_interval = 300ms;
constexpr auto silence_limit = 400ms;
constexpr auto idle_time = 100ms;         // then a ping asks for a sign of life
constexpr auto measure_interval = 1000ms; // a ping even though they are heard

uint64_t as_microseconds(link_handshake::time_point at) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<microseconds>(at.time_since_epoch()).count());
}

std::string called(const greeting_frame& node) {
  return node.name.empty() ? "the other node" : "node '" + node.name + "'";
}

std::string version_text(const greeting_frame& node) {
  return called(node) + " speaks link protocol " + std::to_string(node.version);
}

} // namespace

link_handshake::link_handshake(greeting_frame own, uint64_t seed, time_point now)
    : own_(std::move(own)), random_(seed), since_(now), heard_at_(now), back_off_(first_back_off) {}

link_handshake::actions link_handshake::connected(time_point now) {
  actions out;
  go_down(out, {ec::io, "the connection was replaced"}, now);
  connected_ = true;
  greet(out, now);
  return out;
}

// A greeting without an echo asks for an answer; one with an echo is an answer and gets none.
link_handshake::actions link_handshake::greeted(const greeting_frame& theirs, time_point now) {
  actions out;
  bool is_answer = theirs.echo != 0;
  if (is_answer && theirs.echo != nonce_)
    return out; // to a connection that is no more
  if (auto why = objection(theirs))
    return refuse(theirs, *why, now);
  heard_at_ = now;
  if (state_ == state::up && theirs_ && theirs_->boot != theirs.boot)
    return restarted(theirs, now);
  theirs_ = theirs;
  if (is_answer) {
    if (state_ == state::greeting)
      come_up(out, now);
    return out;
  }
  owed_ = theirs.nonce;
  wake(out, now);
  if (connected_ && !resting())
    pay(out);
  return out;
}

// What was under way there is lost, so it must be seen as down even if it is back already.
link_handshake::actions link_handshake::restarted(const greeting_frame& theirs, time_point now) {
  actions out;
  theirs_ = theirs;
  go_down(out, {ec::io, called(theirs) + " was restarted"}, now);
  if (theirs.echo != 0) { // our connection leads to the new one
    greet(out, now);
  } else {
    owed_ = theirs.nonce;
    reopen(out, now);
  }
  return out;
}

link_handshake::actions link_handshake::refused(const refusal_frame& why, time_point now) {
  actions out;
  if (why.echo != 0 && why.echo != nonce_)
    return out;
  go_down(out, why.why, now);
  if (why.echo == 0)
    connected_ = false;
  rest(state::refused, why.why, now);
  if (why.echo == 0)
    retry_at_ = now + jittered(short_rest);
  return out;
}

link_handshake::actions link_handshake::pong(const ping_frame& echoed, time_point now) {
  heard(now);
  auto& sent = pings_[echoed.id % pings_.size()];
  if (echoed.id != 0 && sent.id == echoed.id) {
    measured(std::chrono::duration_cast<microseconds>(now - sent.at));
    sent.id = 0;
  }
  return {};
}

link_handshake::actions link_handshake::pinged(const ping_frame& theirs, time_point now) {
  actions out;
  heard(now);
  if (state_ == state::up)
    out.send.push_back(encode(link_frame_kind::pong, theirs));
  return out;
}

void link_handshake::heard(time_point now) {
  heard_at_ = now;
}

link_handshake::actions link_handshake::lost(const error& why, time_point now) {
  actions out;
  go_down(out, why, now);
  if (resting())
    connected_ = false;
  else
    fail(why, now);
  return out;
}

link_handshake::actions link_handshake::parted(const goodbye_frame& why, time_point now) {
  actions out;
  error said{ec::shutting_down, "it said goodbye: " + why.reason};
  go_down(out, said, now);
  rest(state::closed, said, now);
  return out;
}

link_handshake::actions link_handshake::tick(time_point now) {
  actions out;
  switch (state_) {
  case state::up:
    if (now - heard_at_ < silence_limit) {
      ping_if_idle(out, now);
    } else {
      error why{ec::io, "no sign of life for 0.4 s"};
      go_down(out, why, now);
      fail(why, now);
    }
    break;
  case state::greeting:
    if (now - since_ >= greeting_patience)
      fail({ec::io, "it does not answer: can it reach port " + std::to_string(own_.link_port) +
                        " of this node? (firewall)"},
           now);
    else if (now - hello_at_ >= hello_interval)
      send_hello(out, now);
    break;
  case state::connecting:
    if (now - since_ >= connect_patience)
      fail({ec::io, "no connection"}, now);
    break;
  case state::waiting:
  case state::refused:
  case state::closed:
    if (now >= retry_at_)
      reopen(out, now);
    break;
  }
  return out;
}

std::optional<error> link_handshake::objection(const greeting_frame& theirs) const {
  if (theirs.version != own_.version)
    return error{ec::version_mismatch, version_text(own_) + ", " + version_text(theirs) +
                                           ": update CoEL on " +
                                           called(theirs.version < own_.version ? theirs : own_)};
  if (theirs.build != own_.build)
    return error{ec::version_mismatch, called(own_) + " is of build '" + own_.build + "', " +
                                           called(theirs) + " of '" + theirs.build +
                                           "': install the same on both"};
  if (theirs.boot == own_.boot)
    return error{ec::bad_argument, "this address is this node's own"};
  return std::nullopt;
}

link_handshake::actions link_handshake::refuse(const greeting_frame& theirs, const error& why,
                                               time_point now) {
  actions out;
  go_down(out, why, now);
  if (connected_ && theirs.echo == 0)
    out.send.push_back(encode(refusal_frame{theirs.nonce, why}));
  rest(state::refused, why, now);
  return out;
}

void link_handshake::pay(actions& out) {
  auto nonce = std::exchange(owed_, std::nullopt);
  if (!nonce)
    return;
  own_.nonce = nonce_;
  own_.echo = *nonce;
  out.send.push_back(encode(own_));
}

void link_handshake::greet(actions& out, time_point now) {
  do
    nonce_ = random_();
  while (nonce_ == 0);
  state_ = state::greeting;
  since_ = now;
  send_hello(out, now);
  pay(out);
}

void link_handshake::send_hello(actions& out, time_point now) {
  own_.nonce = nonce_;
  own_.echo = 0;
  hello_at_ = now;
  out.send.push_back(encode(own_));
}

// They live and want to talk: not the time to wait. A rest is ended once by each of their
// connections, lest two nodes that refuse each other keep each other awake.
void link_handshake::wake(actions& out, time_point now) {
  if (resting() && std::exchange(woken_by_, *owed_) == *owed_)
    return;
  if (resting() && connected_) {
    greet(out, now);
  } else if (state_ == state::waiting || resting()) {
    reopen(out, now);
  } else if (state_ == state::connecting && now - since_ >= impatient_after) {
    reopen(out, now);
  }
}

void link_handshake::come_up(actions& out, time_point now) {
  state_ = state::up;
  since_ = now;
  heard_at_ = now;
  ping_at_ = {};
  last_error_.reset();
  out.came_up = true;
}

void link_handshake::go_down(actions& out, const error& why, time_point now) {
  if (state_ != state::up)
    return;
  if (now - since_ >= stable_time)
    back_off_ = first_back_off;
  nonce_ = 0;
  last_error_ = why;
  out.went_down = why;
  state_ = state::waiting;
}

// A connection on which nothing came of it is not used again, even if it seems to stand.
void link_handshake::fail(const error& why, time_point now) {
  state_ = state::waiting;
  connected_ = false;
  nonce_ = 0;
  since_ = now;
  last_error_ = why;
  retry_at_ = now + jittered(back_off_);
  back_off_ = std::min<milliseconds>(2 * back_off_, last_back_off);
}

void link_handshake::rest(state as, const error& why, time_point now) {
  state_ = as;
  since_ = now;
  nonce_ = 0;
  last_error_ = why;
  retry_at_ = now + jittered(rest_time);
}

void link_handshake::reopen(actions& out, time_point now) {
  out.reopen = true;
  connected_ = false;
  nonce_ = 0;
  state_ = state::connecting;
  since_ = now;
}

void link_handshake::ping_if_idle(actions& out, time_point now) {
  bool idle = now - heard_at_ >= idle_time && now - ping_at_ >= idle_time;
  if (!idle && now - ping_at_ < measure_interval)
    return;
  ping_at_ = now;
  ++ping_id_;
  pings_[ping_id_ % pings_.size()] = {ping_id_, now};
  out.send.push_back(encode(link_frame_kind::ping, ping_frame{ping_id_, as_microseconds(now)}));
}

void link_handshake::measured(microseconds sample) {
  if (round_trip_ == microseconds(0)) {
    round_trip_ = sample;
    variation_ = sample / 2;
    return;
  }
  variation_ = (3 * variation_ + microseconds(std::abs((round_trip_ - sample).count()))) / 4;
  round_trip_ = (7 * round_trip_ + sample) / 8;
}

microseconds link_handshake::deadline() const {
  return round_trip_ == microseconds(0) ? microseconds(1s) : round_trip_ + 4 * variation_;
}

milliseconds link_handshake::jittered(milliseconds span) {
  auto quarter = static_cast<uint64_t>(span.count() / 4);
  return span - milliseconds(quarter) + milliseconds(random_() % (2 * quarter + 1));
}

} // namespace coel::net
