#include "apps/coel/connection.hpp"

#include "apps/coel/commands.hpp"
#include "net/endpoints.hpp"

#include <iostream>

namespace coel::app {

void add_connection_options(CLI::App& command, connection_options& options) {
  constexpr const char* group = "Connection";
  auto several = [&](const char* name, std::vector<std::string>& variable, const std::string& help,
                     const char* environment) {
    command.add_option(name, variable, help)
        ->envname(environment)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->group(group);
  };
  several("--endpoint", options.endpoints,
          "Where the node listens (default " + net::default_endpoint() +
              "); given again or after a comma: the next nodes to ask, should it fail",
          "COEL_ENDPOINT");
  several(
      "--server-key", options.server_keys,
      "The node's public key, or the .pub file that holds it; one for all TCP endpoints, or one "
      "for each",
      "COEL_SERVER_KEY");
  command.add_option("--keys", options.key_file, "Own key file, made by 'coel keygen'")
      ->envname("COEL_CLIENT_KEYS")
      ->group(group);
  command
      .add_option("--timeout", options.timeout_s,
                  "Seconds to wait for an answer that is not streamed")
      ->envname("COEL_TIMEOUT")
      ->capture_default_str()
      ->check(CLI::Range(1, 86400))
      ->group(group);
  command
      .add_option("--lost-after-ms", options.lost_after_ms,
                  "Milliseconds without a sign of life after which a node is lost; 0: never")
      ->envname("COEL_LOST_AFTER_MS")
      ->capture_default_str()
      ->check(CLI::Range(0, 3'600'000))
      ->group(group);
}

namespace {

result<std::string> server_key(const std::string& given) {
  auto key =
      net::check_key(given, "key").ok() ? result<std::string>(given) : net::read_public_key(given);
  if (!key.ok())
    return {key.err().code, "--server-key: " + key.err().message};
  return key;
}

bool is_ipc(const std::string& endpoint) {
  return !net::socket_path(endpoint).empty();
}

// Keys protect TCP; a socket file is protected by its permissions.
result<void> give_keys(std::vector<net::app_client_options>& nodes,
                       const std::vector<std::string>& given) {
  size_t tcp = 0;
  for (auto& node : nodes) {
    if (is_ipc(node.endpoint))
      continue;
    const auto& text = given.size() == 1 ? given.front() : tcp < given.size() ? given[tcp] : "";
    ++tcp;
    if (text.empty())
      continue;
    auto key = server_key(text);
    if (!key.ok())
      return key.err();
    node.server_key = *key;
  }
  if (given.size() > 1 && given.size() != tcp)
    return {ec::bad_argument, "--server-key: " + std::to_string(given.size()) + " keys for " +
                                  std::to_string(tcp) +
                                  " TCP endpoints; give one for all of them, or one for each"};
  return {};
}

result<std::vector<net::app_client_options>> nodes_of(const connection_options& options) {
  std::optional<net::key_pair> own;
  if (!options.key_file.empty()) {
    if (options.server_keys.empty())
      return {ec::bad_argument, "--keys needs --server-key, the public key of the node"};
    auto keys = net::read_keys(options.key_file);
    if (!keys.ok())
      return {keys.err().code, "--keys: " + keys.err().message};
    own = *keys;
  }
  std::vector<net::app_client_options> out;
  for (const auto& endpoint :
       options.endpoints.empty() ? std::vector{net::default_endpoint()} : options.endpoints) {
    auto& node = out.emplace_back();
    node.endpoint = endpoint;
    node.keys = own;
    node.lost_after = std::chrono::milliseconds(options.lost_after_ms);
  }
  if (auto given = give_keys(out, options.server_keys); !given.ok())
    return given.err();
  return out;
}

} // namespace

result<net::app_client> connect(const connection_options& options) {
  auto nodes = nodes_of(options);
  if (!nodes.ok())
    return nodes.err();
  auto reached = net::connect_any(*nodes);
  if (!reached.ok())
    return reached.err();
  return std::move(reached->client);
}

result<net::app_nodes> connect_nodes(const connection_options& options) {
  auto nodes = nodes_of(options);
  if (!nodes.ok())
    return nodes.err();
  return net::app_nodes::connect(std::move(*nodes));
}

void print_error(const error& e) {
  std::cerr << "coel: " << to_string(e) << '\n';
}

std::variant<app_reply, int> ask_node(const connection_options& options,
                                      const app_request& request) {
  auto nodes = nodes_of(options);
  for (;;) {
    auto reached = nodes.ok() ? net::connect_any(*nodes) : result<net::reached_node>(nodes.err());
    if (!reached.ok()) {
      print_error(reached.err());
      return exit_unreachable;
    }
    auto reply = reached->client.ask(request, std::chrono::seconds(options.timeout_s));
    if (reply.ok())
      return std::move(*reply);
    auto asked = reached->index + 1;
    if (reply.err().code != ec::helper_only || asked == nodes->size()) {
      print_error(reply.err());
      return exit_failed;
    }
    nodes->erase(nodes->begin(), nodes->begin() + static_cast<std::ptrdiff_t>(asked));
  }
}

} // namespace coel::app
