// A ZeroMQ ROUTER socket that also says which peers are gone. Used by one thread at a time.
//
// libzmq tells about closed connections by file descriptor (socket monitor) and about messages by
// routing id, so each peer is remembered with the descriptor its messages came from. A descriptor
// is closed only after its DISCONNECTED event was queued; hence when a message of an unknown peer
// has been received and the events were read after it, the set of open descriptors is right for
// it. A peer that dies without closing its connection is disconnected by ZMTP heartbeats.
#pragma once

#include "common/result.hpp"
#include "net/keys.hpp"

#include <zmq.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace coel::net {

struct router_options {
  std::vector<std::string> endpoints;
  std::optional<key_pair> keys; ///< CURVE server with these; none: in the clear
  std::chrono::milliseconds heartbeat_interval{5000};
  std::chrono::milliseconds heartbeat_timeout{15000};
  int queue_messages = 64;          ///< replies to a peer, inside libzmq
  size_t largest_message_bytes = 0; ///< a peer that sends more is disconnected
};

class router {
 public:
  struct message {
    std::string peer;         ///< routing id: which connection
    bool delimited = false;   ///< an empty frame came first, as REQ sends it; answer in kind
    bool one_reply = false;   ///< the peer is a REQ socket
    bool well_formed = false; ///< one payload frame
    zmq::message_t payload;
  };

  /// Binds all endpoints. Errors: io, bad_argument, naming the endpoint.
  static result<router> open(zmq::context_t& context, const router_options& options);

  router(router&&) = default;
  router& operator=(router&&) = delete;
  ~router();

  /// Does not wait; nothing if no message is there. Take what is gone before using the message:
  /// a peer that chose its own routing id may be back under the same one.
  std::optional<message> receive();

  enum class outcome { sent, full, gone };
  outcome send(const std::string& peer, bool delimited, const std::string& payload);

  /// Peers that have vanished since the last call.
  std::vector<std::string> take_gone();

  /// Addresses in use, with the port that a wildcard became.
  const std::vector<std::string>& endpoints() const { return endpoints_; }

  zmq::socket_t& socket() { return socket_; }
  zmq::socket_t& monitor() { return monitor_; }

 private:
  router(zmq::context_t& context, const router_options& options);

  int receive_payload(message& in);
  void read_events();
  bool remember(const std::string& peer, int descriptor);
  void forget(int descriptor);

  zmq::socket_t socket_;
  zmq::socket_t monitor_;
  std::vector<std::string> endpoints_;
  std::unordered_set<int> open_;                 // descriptors of live connections
  std::unordered_map<int, std::string> peer_of_; // by descriptor
  std::unordered_set<std::string> known_;
  std::vector<std::string> gone_;
};

} // namespace coel::net
