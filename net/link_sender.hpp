// This node's end of a connection to one neighbour: a DEALER that only sends (what comes back comes
// on the neighbour's own connection to our link_receiver). Used by one actor at a time; actors give
// the fences that ZeroMQ asks for when a socket changes threads.
#pragma once

#include "common/result.hpp"
#include "net/keys.hpp"

#include <zmq.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace coel::net {

struct sender_options {
  /// tcp://host:port. Give an address: libzmq resolves a name on the thread that serves all links,
  /// and they would stand still meanwhile.
  std::string endpoint;
  key_pair own;           ///< this node's identity
  std::string server_key; ///< the cluster's public key
  std::chrono::milliseconds heartbeat_interval{100};
  std::chrono::milliseconds heartbeat_timeout{400};
  int queue_messages = 256; ///< beyond, send() says full
};

class link_sender {
 public:
  /// Begins to connect; never waits. Errors: bad_argument (endpoint, keys), io.
  static result<link_sender> open(zmq::context_t& context, const sender_options& options);
  link_sender(link_sender&&) noexcept;
  link_sender& operator=(link_sender&&) noexcept;
  ~link_sender(); ///< drops what is queued

  enum class outcome { sent, full };
  /// Takes the message only if sent. Before `connected` nothing is taken (ZMQ_IMMEDIATE).
  outcome send(zmq::message_t& message);

  enum class event { connected, refused, lost };
  struct news {
    event what{};
    std::string text; ///< refused: wrong key or expelled, as far as known
  };
  /// What the socket's monitor said since the last call; never waits.
  std::vector<news> take_news();

 private:
  struct parts;
  explicit link_sender(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

} // namespace coel::net
