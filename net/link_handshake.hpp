// When a link to a neighbour is up (pure: no clock, no socket). Each side opens its own connection
// and greets on it; a greeting is answered by a greeting that echoes its nonce, on the connection
// of the answering side. Up means: our greeting was echoed and theirs was accepted.
#pragma once

#include "net/link_frames.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
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

  /// `own`: this node's greeting (nonce and echo are filled in here).
  link_handshake(greeting_frame own, uint64_t seed, time_point now);

  actions connected(time_point now);
  /// Theirs; `link_port` of theirs tells where they listen. Versions and builds are compared here;
  /// a refusal says which to change.
  actions greeted(const greeting_frame& theirs, time_point now);
  actions refused(const refusal_frame& why, time_point now);
  actions pong(const ping_frame& echoed, time_point now);
  /// Any other frame of theirs: they live.
  void heard(time_point now);
  actions lost(const error& why, time_point now);
  /// Call every 100 ms: pings when idle, gives up after 400 ms of silence when up, retries with
  /// back-off (0.2 s doubling to 5 s; 30 s after a refusal) with jitter from the seed.
  actions tick(time_point now);

  state now() const;
  const std::optional<greeting_frame>& theirs() const;
  std::optional<error> last_error() const;
  /// Smoothed round trip of pings (RFC 6298), its variation, and the deadline that follows.
  std::chrono::microseconds round_trip() const;
  std::chrono::microseconds variation() const;
};

} // namespace coel::net
