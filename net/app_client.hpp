// The app's end of the protocol for C++ programs: one connection, many requests at once. Blocking;
// used by one thread at a time. Lives as long as its connection: there is no silent reconnect,
// since the requests of a lost connection are gone; net/app_nodes.hpp goes on elsewhere.
#pragma once

#include "common/request.hpp"
#include "net/keys.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace coel::net {

struct app_client_options {
  std::string endpoint;                  ///< empty: default_endpoint()
  std::optional<std::string> server_key; ///< the node's public key: CURVE is used
  std::optional<key_pair> keys;          ///< the client's own; none: made for this connection
  std::chrono::milliseconds connect_timeout{2000};
  /// A node that gives no sign of life for so long is lost; a busy one answers heartbeats, which
  /// libzmq's own thread does. 0: no heartbeats, and only a closed connection is noticed.
  std::chrono::milliseconds lost_after{1000};
};

class app_client {
 public:
  struct incoming {
    uint64_t id = 0; ///< 0: the node could not read the id of what it refuses
    app_reply reply;
  };

  /// Errors: io (nobody answers in time), bad_argument (endpoint, keys, key not admitted).
  static result<app_client> connect(const app_client_options& options);
  app_client(app_client&&) noexcept;
  app_client& operator=(app_client&&) noexcept;
  ~app_client();

  /// The id under which its replies come. Errors: too_long, io.
  result<uint64_t> send(const app_request& request);

  /// The next reply to any request; nothing if none came in time. Errors: io (the connection is
  /// lost, and the client with it), bad_frame, version_mismatch.
  result<std::optional<incoming>> poll(std::chrono::milliseconds timeout);

  /// Asks the node to stop a request, which then ends with finish_reason::cancelled.
  result<uint64_t> cancel(uint64_t id) { return send(cancel_request{id}); }

  /// Sends and waits for the last reply to it; others that come meanwhile are dropped. An error
  /// reply becomes the error. Errors: also deadline (no reply in time).
  result<app_reply> ask(const app_request& request, std::chrono::milliseconds timeout);

 private:
  struct state;
  explicit app_client(std::unique_ptr<state> connected);
  std::unique_ptr<state> state_;
};

} // namespace coel::net
