// Decides which CURVE clients may connect (ZeroMQ RFC 27, ZAP).
#pragma once

#include "common/result.hpp"

#include <zmq.hpp>

#include <set>
#include <string>
#include <vector>

namespace coel::net {

class zap_handler {
 public:
  /// Takes the place of the context's one ZAP handler. `allowed` are public keys in Z85; with
  /// `allow_any` every client that knows the server's public key is admitted.
  zap_handler(zmq::context_t& context, const std::vector<std::string>& allowed, bool allow_any);

  /// Answers what has been asked; does not wait.
  void serve();

  zmq::socket_t& socket() { return socket_; }

 private:
  bool admits(const std::vector<zmq::message_t>& question) const;

  zmq::socket_t socket_;
  std::set<std::string> allowed_;
  bool allow_any_;
};

} // namespace coel::net
