// What every subcommand that asks a node shares.
#pragma once

#include "net/app_nodes.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace coel::app {

struct connection_options {
  std::vector<std::string> endpoints;   ///< in order of preference; none: net::default_endpoint()
  std::vector<std::string> server_keys; ///< Z85, or files that hold it; one for all TCP endpoints,
                                        ///< or one for each of them, in their order
  std::string key_file;                 ///< own keys
  uint32_t timeout_s = 60;              ///< for requests that are not streamed
  uint32_t lost_after_ms = 1000;
};

/// --endpoint, --server-key, --keys, --timeout, --lost-after-ms, each also from the environment.
void add_connection_options(CLI::App& command, connection_options& options);

/// To the first that can be reached.
result<net::app_client> connect(const connection_options& options);
/// To all of them as one, for answers that outlive a node.
result<net::app_nodes> connect_nodes(const connection_options& options);

/// "coel: code: message" on standard error.
void print_error(const error& e);

/// Connects and asks; the exit code if that fails.
std::variant<app_reply, int> ask_node(const connection_options& options,
                                      const app_request& request);

/// As above, and hands a reply of the expected kind to `use`, whose exit code it returns.
template <class Reply, class Use>
int ask_node(const connection_options& options, const app_request& request, Use use) {
  auto outcome = ask_node(options, request);
  if (const int* exit = std::get_if<int>(&outcome))
    return *exit;
  if (const auto* reply = std::get_if<Reply>(&std::get<app_reply>(outcome)))
    return use(*reply);
  print_error({ec::bad_frame, "the node answered something else than was asked"});
  return 1;
}

} // namespace coel::app
