#include "net/app_server.hpp"

#include "net/app_protocol.hpp"
#include "net/app_server_loop.hpp"
#include "net/endpoints.hpp"

#include <thread>

namespace coel::net {

struct app_server::state {
  outbox out; // outlives the loop, which reads it
  zmq::context_t context;
  std::vector<std::string> endpoints;
  std::unique_ptr<app_server_loop> loop;
  std::atomic<bool> stopping{false};
  std::thread thread;
};

namespace {

struct split_endpoints {
  std::vector<std::string> clear;
  std::vector<std::string> encrypted;
};

// ipc is protected by file permissions; tcp is encrypted wherever there are keys.
result<split_endpoints> split(const app_server_options& options) {
  split_endpoints out;
  for (const auto& endpoint : options.endpoints) {
    auto kind = classify_endpoint(endpoint);
    if (!kind.ok())
      return kind.err();
    if (*kind == endpoint_kind::tcp && !options.keys)
      return {ec::bad_argument,
              "endpoint " + endpoint +
                  ": reachable from the network, so keys are needed; make them "
                  "with 'coel keygen' and configure them, or listen on 127.0.0.1"};
    bool encrypt = options.keys && *kind != endpoint_kind::ipc;
    (encrypt ? out.encrypted : out.clear).push_back(endpoint);
  }
  return out;
}

result<void> check_keys(const app_server_options& options) {
  if (!options.keys)
    return {};
  if (auto checked = check_key(options.keys->secret_key, "the node's secret key"); !checked.ok())
    return checked;
  for (const auto& key : options.allowed_clients)
    if (auto checked = check_key(key, "allowed client '" + key + "'"); !checked.ok())
      return checked;
  if (options.allowed_clients.empty() && !options.allow_any_client)
    return {ec::bad_argument,
            "keys are configured, but no client is allowed: list their public keys or allow any"};
  return {};
}

router_options options_for(const app_server_options& options, std::vector<std::string> endpoints,
                           std::optional<key_pair> keys) {
  router_options out;
  out.endpoints = std::move(endpoints);
  out.keys = std::move(keys);
  out.heartbeat_interval = options.heartbeat_interval;
  out.heartbeat_timeout = options.heartbeat_timeout;
  out.largest_message_bytes = max_request_bytes;
  return out;
}

} // namespace

result<std::unique_ptr<app_server>> app_server::start(app_server_options options,
                                                      app_handler handler) try {
  if (options.endpoints.empty())
    options.endpoints.push_back(default_endpoint());
  auto parts = split(options);
  if (!parts.ok())
    return parts.err();
  if (auto checked = check_keys(options); !checked.ok())
    return checked.err();
  auto made = std::make_unique<state>();
  std::unique_ptr<zap_handler> gate;
  if (!parts->encrypted.empty()) // before anybody can connect
    gate = std::make_unique<zap_handler>(made->context, options.allowed_clients,
                                         options.allow_any_client);
  std::vector<router> routers;
  for (bool encrypted : {false, true}) {
    const auto& endpoints = encrypted ? parts->encrypted : parts->clear;
    if (endpoints.empty())
      continue;
    auto opened = router::open(
        made->context, options_for(options, endpoints, encrypted ? options.keys : std::nullopt));
    if (!opened.ok())
      return opened.err();
    const auto& bound = opened->endpoints();
    made->endpoints.insert(made->endpoints.end(), bound.begin(), bound.end());
    routers.push_back(std::move(*opened));
  }
  made->loop = std::make_unique<app_server_loop>(std::move(routers), std::move(gate), made->out,
                                                 options, std::move(handler));
  made->thread = std::thread([s = made.get()] { s->loop->run(s->stopping); });
  return std::unique_ptr<app_server>(new app_server(std::move(made)));
} catch (const std::exception& e) { // no descriptor, thread or memory was left
  return {ec::io, std::string("cannot open the app socket: ") + e.what()};
}

app_server::app_server(std::unique_ptr<state> started) : state_(std::move(started)) {}

app_server::~app_server() {
  stop();
}

void app_server::send(client_ref client, uint64_t id, app_reply reply) {
  state_->out.push({client, id, std::move(reply)});
}

void app_server::stop() {
  if (!state_->thread.joinable())
    return;
  state_->stopping = true;
  state_->out.wake();
  state_->thread.join();
  state_->loop.reset();
  state_->context.close(); // waits for the sockets' linger
  for (const auto& endpoint : state_->endpoints)
    if (auto path = socket_path(endpoint); !path.empty())
      remove_socket_file(path);
}

const std::vector<std::string>& app_server::endpoints() const {
  return state_->endpoints;
}

} // namespace coel::net
