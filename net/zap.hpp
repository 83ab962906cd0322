// Decides which CURVE clients may connect (ZeroMQ RFC 27, ZAP).
#pragma once

#include "common/result.hpp"

#include <zmq.hpp>

#include <functional>
#include <string>
#include <vector>

namespace coel::net {

class zap_handler {
 public:
  /// May the client with this public key (Z85), that calls from this address, connect?
  using predicate = std::function<bool(const std::string& key, const std::string& address)>;

  /// Takes the place of the context's one ZAP handler. The key of who is admitted is the User-Id of
  /// its messages.
  zap_handler(zmq::context_t& context, predicate admits);

  /// `allowed` are public keys in Z85; with `allow_any` every client that knows the server's public
  /// key is admitted.
  zap_handler(zmq::context_t& context, const std::vector<std::string>& allowed, bool allow_any);

  /// Answers what has been asked; does not wait.
  void serve();

  zmq::socket_t& socket() { return socket_; }

 private:
  zmq::socket_t socket_;
  predicate admits_;
};

/// "10.0.0.7" for "::ffff:10.0.0.7", as a socket of both families names its IPv4 peers.
std::string plain_address(std::string address);

} // namespace coel::net
