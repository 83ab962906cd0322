// When a link to a neighbour is up (pure: no clock, no socket). Each side opens its own connection
// and greets on it; a greeting is answered by a greeting that echoes its nonce, on the connection
// of the answering side. Up means: our greeting was echoed and theirs was accepted. Of one call at
// most one of came_up and went_down is told.
#pragma once

#include "net/link_frames.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace coel::net {

class link_handshake {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  enum class state : uint8_t { connecting, greeting, up, waiting, refused, closed };

  /// What to do now, in this order.
  struct actions {
    std::vector<zmq::message_t> send;
    bool reopen = false; ///< drop the connection and connect anew
    bool came_up = false;
    std::optional<error> went_down; ///< was up and is not any more
  };

  /// `own`: this node's greeting (nonce and echo are filled in here). Begins as `connecting`: the
  /// caller has just opened its connection.
  link_handshake(greeting_frame own, uint64_t seed, time_point now);

  actions connected(time_point now);
  /// Theirs; `link_port` of theirs tells where they listen. Versions and builds are compared here;
  /// a refusal says which to change.
  actions greeted(const greeting_frame& theirs, time_point now);
  /// With echo 0: their socket refused the connection (link_sender::event::refused).
  actions refused(const refusal_frame& why, time_point now);
  actions pong(const ping_frame& echoed, time_point now);
  /// Answered while up only, so that a side which is not up soon looks silent to the other.
  actions pinged(const ping_frame& theirs, time_point now);
  /// Any other frame of theirs: they live.
  void heard(time_point now);
  actions lost(const error& why, time_point now);
  /// They stop: no attempts for a while, unless they greet again.
  actions parted(const goodbye_frame& why, time_point now);
  /// Call every 100 ms: pings when idle, gives up after 400 ms of silence when up, retries with
  /// back-off (0.2 s doubling to 5 s; 30 s after a refusal, 5 s after one by the socket) with
  /// jitter from the seed.
  actions tick(time_point now);

  state now() const { return state_; }
  /// Of the greeting that we wait to be answered: an answer echoes it. 0: none.
  uint64_t nonce() const { return nonce_; }
  const std::optional<greeting_frame>& theirs() const { return theirs_; }
  /// Why it is not up, as far as known; nothing while it is.
  std::optional<error> last_error() const { return last_error_; }
  /// Smoothed round trip of pings (RFC 6298), its variation, and the deadline that follows: 1 s
  /// before the first pong.
  std::chrono::microseconds round_trip() const { return round_trip_; }
  std::chrono::microseconds variation() const { return variation_; }
  std::chrono::microseconds deadline() const;

 private:
  struct sent_ping {
    uint64_t id = 0;
    time_point at{};
  };

  std::optional<error> objection(const greeting_frame& theirs) const;
  actions refuse(const greeting_frame& theirs, const error& why, time_point now);
  actions restarted(const greeting_frame& theirs, time_point now);
  bool resting() const { return state_ == state::refused || state_ == state::closed; }
  void pay(actions& out);
  void greet(actions& out, time_point now);
  void send_hello(actions& out, time_point now);
  void wake(actions& out, time_point now);
  void come_up(actions& out, time_point now);
  void go_down(actions& out, const error& why, time_point now);
  void fail(const error& why, time_point now);
  void rest(state as, const error& why, time_point now);
  void reopen(actions& out, time_point now);
  void ping_if_idle(actions& out, time_point now);
  void measured(std::chrono::microseconds sample);
  std::chrono::milliseconds jittered(std::chrono::milliseconds span);

  greeting_frame own_;
  std::mt19937_64 random_;
  state state_ = state::connecting;
  bool connected_ = false;
  uint64_t nonce_ = 0;           // of our connection's greeting; 0: no answer is expected
  std::optional<uint64_t> owed_; // their greeting, to be answered once we are connected
  uint64_t woken_by_ = 0;        // their greeting that ended a rest
  std::optional<greeting_frame> theirs_;
  std::optional<error> last_error_;
  time_point since_{}; // of the state
  time_point retry_at_{};
  time_point hello_at_{};
  time_point heard_at_{};
  std::chrono::milliseconds back_off_;
  std::array<sent_ping, 8> pings_{}; // the latest, by id
  uint64_t ping_id_ = 0;
  time_point ping_at_{};
  std::chrono::microseconds round_trip_{0};
  std::chrono::microseconds variation_{0};
};

} // namespace coel::net
