// Two nodes' handshakes over a network of no sockets: it drops, delays and reorders frames, breaks
// connections, and its nodes die and return, all from one seed.
#pragma once

#include "net/link_handshake.hpp"

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>

namespace coel::net::test {

using namespace std::chrono_literals;

class link_world {
 public:
  using time_point = link_handshake::time_point;
  using milliseconds = std::chrono::milliseconds;

  struct side {
    greeting_frame own;
    std::unique_ptr<link_handshake> link; ///< null: dead
    uint64_t life = 0;                    ///< counts its starts
    uint64_t opened = 0;                  ///< counts its connections
    bool connected = false;
    uint64_t peer_life = 0; ///< to which it is connected
    bool told_up = false;
    int ups = 0, downs = 0;
    std::string events; ///< 'u' and 'd'
  };

  double drop = 0;
  milliseconds longest_delay{20};
  bool silent_death = false; ///< connections to the dead seem to stand

  explicit link_world(uint64_t seed) : random_(seed) {
    sides_[0].own.name.push_back('a');
    sides_[1].own.name.push_back('b');
    for (auto& one : sides_) {
      one.own.build.push_back('1');
      one.own.link_port = 7420;
    }
  }

  side& operator[](int which) { return sides_[which]; }
  bool up(int which) const {
    return sides_[which].link && sides_[which].link->now() == link_handshake::state::up;
  }
  bool both_up() const { return up(0) && up(1); }

  void start(int which) {
    auto& me = sides_[which];
    ++me.life;
    me.told_up = me.connected = false;
    me.own.boot = random_();
    me.link = std::make_unique<link_handshake>(me.own, random_(), now_);
    open(which);
  }
  void kill(int which) {
    sides_[which].link.reset();
    sides_[which].connected = false;
    auto& other = sides_[1 - which];
    if (other.connected && !silent_death)
      break_connection(1 - which);
  }
  /// The connection breaks, and libzmq makes it again.
  void break_connection(int which) {
    auto& me = sides_[which];
    auto life = me.life, opened = me.opened;
    after(some(30ms), [=, this] {
      auto& it = sides_[which];
      if (it.life != life || it.opened != opened || !it.connected)
        return;
      it.connected = false;
      act(which, it.link->lost({ec::io, "broke"}, now_));
      try_to_connect(which, life, opened);
    });
  }

  void run(milliseconds span) {
    auto end = now_ + span;
    for (;;) {
      bool tick = queue_.empty() || next_tick_ <= queue_.begin()->first;
      auto next = tick ? next_tick_ : queue_.begin()->first;
      if (next > end)
        break;
      now_ = next;
      if (tick)
        tick_both();
      else
        queue_.extract(queue_.begin()).mapped()();
      check();
    }
    now_ = end;
  }
  template <class Condition>
  bool run_until(Condition condition, milliseconds limit) {
    for (auto end = now_ + limit; now_ < end; run(10ms))
      if (condition())
        return true;
    return condition();
  }

  /// What must never be: empty as long as it has not been.
  std::string_view violation() const { return violation_; }
  uint64_t random() { return random_(); }

 private:
  milliseconds some(milliseconds longest) {
    return milliseconds(random_() % static_cast<uint64_t>(longest.count() + 1));
  }
  void after(milliseconds delay, std::function<void()> what) {
    queue_.emplace(now_ + delay, std::move(what));
  }

  void tick_both() {
    next_tick_ += 100ms;
    for (int which : {0, 1})
      if (sides_[which].link)
        act(which, sides_[which].link->tick(now_));
  }
  void open(int which) {
    auto& me = sides_[which];
    me.connected = false;
    try_to_connect(which, me.life, ++me.opened);
  }
  void try_to_connect(int which, uint64_t life, uint64_t opened) {
    after(1ms + some(20ms), [=, this] {
      auto& me = sides_[which];
      if (me.life != life || me.opened != opened || !me.link || me.connected)
        return;
      if (!sides_[1 - which].link) {
        after(400ms, [=, this] { try_to_connect(which, life, opened); });
        return;
      }
      me.connected = true;
      me.peer_life = sides_[1 - which].life;
      act(which, me.link->connected(now_));
    });
  }

  void act(int which, link_handshake::actions todo) {
    auto& me = sides_[which];
    for (auto& frame : todo.send)
      send(which, std::move(frame));
    if (todo.reopen)
      open(which);
    if (todo.came_up && todo.went_down)
      violation_ = "both up and down at once";
    if (todo.came_up)
      told(me, true);
    if (todo.went_down)
      told(me, false);
  }
  void told(side& me, bool is_up) {
    if (me.told_up == is_up)
      violation_ = "told the same twice";
    me.told_up = is_up;
    ++(is_up ? me.ups : me.downs);
    me.events += is_up ? 'u' : 'd';
  }

  void send(int which, zmq::message_t frame) {
    auto& me = sides_[which];
    if (!me.connected) {
      violation_ = "sent without a connection";
      return;
    }
    if (static_cast<double>(random_() % 1000) < 1000 * drop)
      return;
    auto* data = frame.data<std::byte>();
    std::vector<std::byte> bytes(data, data + frame.size());
    after(some(longest_delay), [=, this, to_life = me.peer_life] {
      auto& it = sides_[1 - which];
      if (it.link && it.life == to_life)
        receive(1 - which, bytes);
    });
  }

  // As a link actor does.
  void receive(int which, const std::vector<std::byte>& frame) {
    auto& link = *sides_[which].link;
    switch (*kind_of(frame)) {
    case link_frame_kind::greeting:
      return act(which, link.greeted(*decode_greeting(frame), now_));
    case link_frame_kind::refusal:
      return act(which, link.refused(*decode_refusal(frame), now_));
    case link_frame_kind::pong:
      return act(which, link.pong(*decode_ping(frame), now_));
    case link_frame_kind::ping:
      return act(which, link.pinged(*decode_ping(frame), now_));
    default:
      violation_ = "a frame that is not of the handshake";
    }
  }

  void check() {
    for (int which : {0, 1}) {
      const auto& me = sides_[which];
      if (!me.link)
        continue;
      if (me.told_up != (me.link->now() == link_handshake::state::up))
        violation_ = "the state is not what was told";
      if (me.told_up && (me.link->theirs()->version != me.own.version ||
                         me.link->theirs()->build != me.own.build))
        violation_ = "up with another version";
    }
  }

  side sides_[2];
  std::mt19937_64 random_;
  time_point now_{std::chrono::hours(1)};
  time_point next_tick_ = now_ + 100ms;
  std::multimap<time_point, std::function<void()>> queue_;
  std::string_view violation_;
};

} // namespace coel::net::test
