#include "tests/cluster/fake_member.hpp"

#include "net/node_record.hpp"

#include <random>
#include <stdexcept>

namespace coel::testing {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using net::link_frame_kind;

constexpr const char* build = "coel-link"; // as nodes say

net::greeting_frame greeting_of(const member_options& o) {
  net::greeting_frame g;
  g.boot = (uint64_t{std::random_device{}()} << 32) | 1;
  g.link_port = o.port;
  g.link_address = o.said.empty() ? o.listen : o.said;
  g.name = o.name;
  g.build = build;
  return g;
}

} // namespace

fake_member::fake_member(const net::cluster_file& cluster, member_options options, behaviour acts)
    : cluster_(cluster), options_(std::move(options)), acts_(std::move(acts)) {
  net::receiver_options r;
  r.endpoints = {"tcp://" + options_.listen + ":" + std::to_string(options_.port)};
  r.cluster = cluster_.keys;
  net::receiver_handler handler;
  handler.on_frame = [this](const std::string&, const std::string&, zmq::message_t frame) {
    std::lock_guard lock(mutex_);
    const auto* from = frame.data<std::byte>();
    waiting_.emplace_back(from, from + frame.size());
    changed_.notify_all();
  };
  handler.on_gone = [](const std::string&) {};
  auto started = net::link_receiver::start(context_, r, handler);
  if (!started.ok())
    throw std::runtime_error(to_string(started.err()));
  receiver_ = std::move(*started);
  open();
  handshake_.emplace(greeting_of(options_), 1, clock::now());
  thread_ = std::thread([this] { run(); });
}

fake_member::~fake_member() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
  receiver_.reset();
}

void fake_member::open() {
  sender_.reset();
  auto made = net::link_sender::open(
      context_, {"tcp://" + options_.node + ":" + std::to_string(options_.port), options_.keys,
                 cluster_.keys.public_key});
  if (!made.ok())
    throw std::runtime_error(to_string(made.err()));
  sender_.emplace(std::move(*made));
}

void fake_member::run() {
  for (;;) {
    std::deque<bytes> came;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, 20ms, [&] { return ending_ || !waiting_.empty(); });
      if (ending_)
        return;
      came.swap(waiting_);
      for (const auto& frame : came)
        all_.push_back(frame);
    }
    for (const auto& frame : came)
      take(frame);
    std::lock_guard lock(link_mutex_);
    take_news();
    apply(handshake_->tick(clock::now()));
  }
}

void fake_member::take(const bytes& frame) {
  auto kind = net::kind_of(frame);
  if (!kind)
    return;
  {
    std::lock_guard lock(link_mutex_);
    handshake_->heard(clock::now());
    if (take_control(*kind, frame))
      return;
  }
  acts_(*this, *kind, frame);
}

bool fake_member::take_control(link_frame_kind kind, const bytes& frame) {
  auto now = clock::now();
  switch (kind) {
  case link_frame_kind::greeting:
    apply(handshake_->greeted(*net::decode_greeting(frame), now));
    return true;
  case link_frame_kind::refusal:
    apply(handshake_->refused(*net::decode_refusal(frame), now));
    return true;
  case link_frame_kind::ping:
    apply(handshake_->pinged(*net::decode_ping(frame), now));
    return true;
  case link_frame_kind::pong:
    apply(handshake_->pong(*net::decode_ping(frame), now));
    return true;
  case link_frame_kind::goodbye:
    apply(handshake_->parted(*net::decode_goodbye(frame), now));
    return true;
  default:
    return false;
  }
}

void fake_member::take_news() {
  using event = net::link_sender::event;
  for (const auto& one : sender_->take_news()) {
    auto now = clock::now();
    if (one.what == event::connected)
      apply(handshake_->connected(now));
    else if (one.what == event::refused)
      apply(handshake_->refused({0, {ec::io, one.text}}, now));
    else
      apply(handshake_->lost({ec::io, one.text}, now));
  }
}

void fake_member::apply(net::link_handshake::actions todo) {
  for (auto& message : todo.send)
    (void)sender_->send(message);
  if (todo.reopen)
    open();
  if (todo.came_up)
    ++times_up_;
  up_ = handshake_->now() == net::link_handshake::state::up;
}

bool fake_member::send(zmq::message_t frame) {
  std::lock_guard lock(link_mutex_);
  return up_ && sender_->send(frame) == net::link_sender::outcome::sent;
}

void fake_member::claim_everything(const bytes& record_frame) {
  auto read = net::decode_record(record_frame);
  auto theirs = net::unpack_node_record(read->bytes);
  if (!theirs.ok() || theirs->models.empty())
    return;
  node_record mine;
  mine.version = ++version_;
  mine.name = options_.name;
  auto& m = mine.models.emplace_back(theirs->models.front());
  m.capacity_bytes = 0; // nobody plans with it
  m.complete = false;
  m.home = false;
  m.chunks = {};
  m.speed = {1, 1};
  for (size_t i = 0; i < m.holds.size(); ++i)
    m.holds.set(i);
  send(net::encode(net::record_frame{net::pack_node_record(mine)}));
}

std::vector<fake_member::bytes> fake_member::frames(link_frame_kind kind) const {
  std::lock_guard lock(mutex_);
  std::vector<bytes> out;
  for (const auto& frame : all_)
    if (net::kind_of(frame) == kind)
      out.push_back(frame);
  return out;
}

} // namespace coel::testing
