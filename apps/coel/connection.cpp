#include "apps/coel/connection.hpp"

#include "apps/coel/commands.hpp"
#include "net/endpoints.hpp"

#include <iostream>

namespace coel::app {

void add_connection_options(CLI::App& command, connection_options& options) {
  constexpr const char* group = "Connection";
  command
      .add_option("--endpoint", options.endpoint,
                  "Where the node listens (default " + net::default_endpoint() + ")")
      ->envname("COEL_ENDPOINT")
      ->group(group);
  command
      .add_option("--server-key", options.server_key,
                  "The node's public key, or the .pub file that holds it")
      ->envname("COEL_SERVER_KEY")
      ->group(group);
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
}

result<net::app_client> connect(const connection_options& options) {
  net::app_client_options out;
  out.endpoint = options.endpoint;
  if (!options.server_key.empty()) {
    auto key = net::check_key(options.server_key, "key").ok()
                   ? result<std::string>(options.server_key)
                   : net::read_public_key(options.server_key);
    if (!key.ok())
      return {key.err().code, "--server-key: " + key.err().message};
    out.server_key = *key;
  }
  if (!options.key_file.empty()) {
    if (!out.server_key)
      return {ec::bad_argument, "--keys needs --server-key, the public key of the node"};
    auto keys = net::read_keys(options.key_file);
    if (!keys.ok())
      return {keys.err().code, "--keys: " + keys.err().message};
    out.keys = *keys;
  }
  return net::app_client::connect(out);
}

void print_error(const error& e) {
  std::cerr << "coel: " << to_string(e) << '\n';
}

std::variant<app_reply, int> ask_node(const connection_options& options,
                                      const app_request& request) {
  auto client = connect(options);
  if (!client.ok()) {
    print_error(client.err());
    return exit_unreachable;
  }
  auto reply = client->ask(request, std::chrono::seconds(options.timeout_s));
  if (!reply.ok()) {
    print_error(reply.err());
    return exit_failed;
  }
  return std::move(*reply);
}

} // namespace coel::app
