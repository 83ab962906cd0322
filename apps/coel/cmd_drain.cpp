// coel drain and coel expel: a node of the cluster is to go.
#include "apps/coel/commands.hpp"
#include "apps/coel/connection.hpp"
#include "apps/coel/interrupt.hpp"

#include <nlohmann/json.hpp>

#include <iostream>
#include <thread>

namespace coel::app {

namespace {

using json = nlohmann::json;

struct action_options {
  connection_options connection;
  std::string node;
  bool wait = false;
};

error odd_answer() {
  return {ec::bad_frame, "the node answered something else than was asked"};
}

result<json> document(net::app_client& node, const action_options& options,
                      const inspect_request& ask) {
  auto reply = node.ask(ask, std::chrono::seconds(options.connection.timeout_s));
  if (!reply.ok())
    return reply.err();
  const auto* text = std::get_if<document_reply>(&*reply);
  auto parsed = text ? json::parse(text->json, nullptr, false) : json();
  if (!parsed.is_object())
    return odd_answer();
  return parsed;
}

std::string printable(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = '?';
  return text;
}

void print_done(const json& done) {
  auto name = done.at("node").get<std::string>();
  std::cout << printable((name.empty() ? "" : name + ", ") + done.at("key").get<std::string>())
            << ": " << printable(done.at("then").get<std::string>()) << std::endl;
}

/// Experts that the node of `key` alone holds, and those that nobody does: all models together.
uint64_t left_at(const json& cluster, const std::string& key) {
  uint64_t left = 0;
  for (const auto& p : cluster.at("placement")) {
    left += p.at("uncovered").get<uint64_t>();
    for (const auto& n : p.at("nodes"))
      if (n.at("key") == key)
        left += n.at("alone").get<uint64_t>();
  }
  return left;
}

/// Until others hold everything, or Ctrl-C.
result<void> wait_until_free(net::app_client& node, const action_options& options,
                             const std::string& key) {
  interrupt_guard guard;
  for (uint64_t before = UINT64_MAX;;) {
    auto cluster = document(node, options, {"cluster", "", 0, 0, ""});
    if (!cluster)
      return cluster.err();
    auto left = left_at(*cluster, key);
    if (left != before)
      std::cout << (left == 0   ? "it can be stopped now"
                    : left == 1 ? "1 expert is not held by others yet"
                                : std::to_string(left) + " experts are not held by others yet")
                << std::endl;
    if (left == 0)
      return {};
    before = left;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    if (interrupt_guard::take())
      return {ec::cancelled, "interrupted; the node drains on"};
  }
}

int failed(const error& why) {
  print_error(why);
  return why.code == ec::cancelled ? exit_interrupted : exit_failed;
}

int act(const char* what, const action_options& options) {
  auto node = connect(options.connection);
  if (!node) {
    print_error(node.err());
    return exit_unreachable;
  }
  auto done = document(*node, options, {what, "", 0, 0, options.node});
  if (!done)
    return failed(done.err());
  try {
    print_done(*done);
    if (options.wait)
      if (auto free = wait_until_free(*node, options, done->at("key").get<std::string>()); !free)
        return failed(free.err());
  } catch (const json::exception&) {
    return failed(odd_answer());
  }
  return exit_good;
}

} // namespace

void add_drain(CLI::App& app, int& exit) {
  auto options = std::make_shared<action_options>();
  auto& command = *app.add_subcommand(
      "drain", "Let the other nodes take over what a node of the cluster holds");
  command.add_option("node", options->node,
                     "Its name or public key (default: the node that is asked)");
  command.add_flag("--wait", options->wait, "Until it can be stopped without a loss");
  add_connection_options(command, options->connection);
  command.callback([options, &exit] { exit = act("drain", *options); });
}

void add_expel(CLI::App& app, int& exit) {
  auto options = std::make_shared<action_options>();
  auto& command = *app.add_subcommand("expel", "Make the node refuse another one of its cluster");
  command.add_option("node", options->node, "Its name or public key")->required();
  add_connection_options(command, options->connection);
  command.callback([options, &exit] { exit = act("expel", *options); });
}

} // namespace coel::app
