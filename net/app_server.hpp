// The node's end of the app protocol: listens, takes requests apart, sends answers, and notices
// when a client is gone. Free of actors; runs on one thread of its own.
#pragma once

#include "common/request.hpp"
#include "net/keys.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace coel::net {

/// One client connection; never used again after it is gone.
enum class client_ref : uint64_t {};

inline std::string to_string(client_ref x) {
  return std::to_string(static_cast<uint64_t>(x));
}

struct app_server_options {
  std::vector<std::string> endpoints;       ///< empty: default_endpoint()
  std::optional<key_pair> keys;             ///< CURVE for every tcp endpoint
  std::vector<std::string> allowed_clients; ///< public keys
  bool allow_any_client = false;            ///< with keys: who knows the node's key may connect
  size_t max_clients = 256;
  size_t max_in_flight = 64; ///< requests per client
  std::chrono::milliseconds heartbeat_interval{5000};
  std::chrono::milliseconds heartbeat_timeout{15000};
};

/// Called on the server's thread, perhaps before start() returns: hand over and return at once.
/// After on_client_gone nothing more comes from that client, and what is sent to it is dropped.
struct app_handler {
  std::function<void(client_ref, uint64_t id, app_request)> on_request;
  std::function<void(client_ref)> on_client_gone;
};

class app_server {
 public:
  /// Listens when it returns. Errors: io, bad_argument naming the endpoint or key; among them a
  /// tcp endpoint beyond loopback without keys.
  static result<std::unique_ptr<app_server>> start(app_server_options options, app_handler handler);
  ~app_server();

  /// Queues a reply to a request; from any thread, never waits. Every request needs one reply that
  /// is not a token_reply; it ends the request. Replies to clients or requests that are gone are
  /// dropped.
  void send(client_ref client, uint64_t id, app_reply reply);

  /// Sends what is queued (at most a second per connection) and closes. Idempotent; not from the
  /// handler.
  void stop();

  /// Addresses in use, with the port that a wildcard became.
  const std::vector<std::string>& endpoints() const;

 private:
  struct state;
  explicit app_server(std::unique_ptr<state> started);
  std::unique_ptr<state> state_;
};

} // namespace coel::net
