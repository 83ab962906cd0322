// coel-inspect: looks into a running node.
#include "apps/coel/connection.hpp"
#include "apps/coel/line_editor.hpp"
#include "apps/inspect/render.hpp"

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <sys/ioctl.h>
#include <unistd.h>

namespace {

using namespace coel;

constexpr const char* help_text = "status              the node in a few lines\n"
                                  "actors              mailbox depth and time spent, experts of a layer as one\n"
                                  "experts [MODEL]     heat map of popularity and residency\n"
                                  "sessions            running and waiting requests\n"
                                  "memory              memory by tier\n"
                                  "trace REQUEST       where the microseconds of its last tokens went\n"
                                  "metrics             Prometheus text\n"
                                  "help, quit\n";

inspect::look terminal_look() {
  inspect::look how;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
    how.width = size.ws_col;
  how.colour = isatty(STDOUT_FILENO) && !std::getenv("NO_COLOR");
  return how;
}

std::string rendered(const std::string& what, const nlohmann::json& document, const inspect::look& how) {
  if (what == "actors")
    return inspect::render_actors(document, how);
  if (what == "experts")
    return inspect::render_experts(document, how);
  if (what == "sessions")
    return inspect::render_sessions(document, how);
  if (what == "memory")
    return inspect::render_memory(document, how);
  if (what == "trace")
    return inspect::render_trace(document, how);
  if (what == "metrics")
    return document.at("text").get<std::string>();
  return inspect::render_status(document, how);
}

/// One command; the exit code if the program were to end here.
int run_command(net::app_client& node, const std::string& line, bool json) {
  std::istringstream words(line);
  std::string what, argument;
  words >> what >> argument;
  if (what == "help") {
    std::cout << help_text;
    return 0;
  }
  inspect_request ask;
  ask.what = what;
  if (what == "trace")
    ask.target = std::strtoull(argument.c_str(), nullptr, 10);
  else
    ask.model = argument;
  auto reply = node.ask(ask, std::chrono::seconds(20));
  if (!reply) {
    std::cerr << "coel-inspect: " << to_string(reply.err()) << "\n";
    return 1;
  }
  const auto* document = std::get_if<document_reply>(&*reply);
  try {
    if (document)
      std::cout << (json ? document->json + "\n" : rendered(what, nlohmann::json::parse(document->json), terminal_look()));
  } catch (const std::exception& e) {
    std::cerr << "coel-inspect: the node's document is not as expected: " << e.what() << "\n";
    return 1;
  }
  return document ? 0 : 1;
}

int shell(net::app_client& node, bool json) {
  app::line_editor editor("inspect_history");
  if (editor.interactive())
    std::cout << "Attached. 'help' lists the commands.\n";
  while (auto line = editor.read("coel> ")) {
    if (*line == "quit" || *line == "exit")
      break;
    if (!line->empty())
      run_command(node, *line, json);
  }
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("Looks into a running CoEL node. Without -e it is a shell.", "coel-inspect");
  app.footer(std::string("Commands:\n") + help_text);
  app::connection_options connection;
  std::vector<std::string> commands;
  bool json = false;
  app::add_connection_options(app, connection);
  app.add_option("-e", commands, "run this command and end (repeatable)");
  app.add_flag("--json", json, "print the node's documents as they are");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  auto node = app::connect(connection);
  if (!node) {
    std::cerr << "coel-inspect: " << to_string(node.err()) << "\n";
    return 3;
  }
  if (commands.empty())
    return shell(*node, json);
  int worst = 0;
  for (const auto& command : commands)
    worst = std::max(worst, run_command(*node, command, json));
  return worst;
}
