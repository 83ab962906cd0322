// Everything that neighbours send, on one thread: a ROUTER that only receives, the ZAP handler that
// decides who may connect, and the socket's monitor that says who is gone.
#pragma once

#include "common/result.hpp"
#include "net/keys.hpp"
#include "net/link_refusals.hpp"

#include <zmq.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace coel::net {

struct receiver_options {
  std::vector<std::string> endpoints; ///< tcp://*:7420 or of chosen addresses
  key_pair cluster;                   ///< CURVE server pair
  std::vector<std::string> members;   ///< empty: any key that is not expelled
  std::vector<std::string> expelled;
  std::chrono::milliseconds heartbeat_interval{100};
  std::chrono::milliseconds heartbeat_timeout{400};
  size_t largest_frame_bytes = 64u << 20; ///< a peer that sends more is disconnected
  double handshakes_per_second = 20;      ///< per address; more are refused and counted
};

struct receiver_counts {
  uint64_t frames = 0;
  uint64_t bytes = 0;
  uint64_t refused_keys = 0;      ///< not a member, expelled, or too many attempts
  uint64_t failed_handshakes = 0; ///< no key or the wrong cluster
  refusal_counts refused{};       ///< all of these, by reason
};

/// Called on the receiver's thread: hand over and return at once.
struct receiver_handler {
  /// `key`: the sender's public key in Z85, as the handshake proved it; `address`: "10.0.0.7".
  std::function<void(const std::string& key, const std::string& address, zmq::message_t frame)>
      on_frame;
  /// The last connection of that key is gone.
  std::function<void(const std::string& key)> on_gone;
  /// A line for the log about who was not let in: of each reason one a minute at most.
  std::function<void(const std::string& line)> on_refused = say_on_stderr;
};

class link_receiver {
 public:
  /// Listens when it returns. Errors: io and bad_argument naming the endpoint.
  static result<std::unique_ptr<link_receiver>>
  start(zmq::context_t& context, receiver_options options, receiver_handler handler);
  ~link_receiver(); ///< ends the thread; not from the handler

  /// From now on refused; its connections are closed. From any thread.
  void expel(const std::string& key);

  receiver_counts counts() const;
  /// With the port that a wildcard became.
  const std::vector<std::string>& endpoints() const;

 private:
  struct state;
  explicit link_receiver(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

} // namespace coel::net
