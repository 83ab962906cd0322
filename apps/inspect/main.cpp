// coel-inspect: looks into a running node.
#include "apps/coel/commands.hpp"
#include "apps/coel/interrupt.hpp"
#include "apps/inspect/shell.hpp"

#include <clocale>
#include <iostream>

namespace {

using namespace coel;

int run_all(inspect::shell& shell, const std::vector<std::string>& commands) {
  app::interrupt_guard guard;
  int worst = app::exit_good;
  for (const auto& command : commands) {
    worst = std::max(worst, shell.run(command));
    if (shell.ended() || worst == app::exit_interrupted)
      break;
  }
  return worst;
}

/// A command that cannot be understood is a usage error before the node is asked anything.
result<void> check(const std::vector<std::string>& commands) {
  for (const auto& command : commands)
    if (auto parsed = inspect::parse_command(command); !parsed)
      return parsed.err();
  return {};
}

} // namespace

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  CLI::App cli("Looks into a running CoEL node. Without -e it is a shell.", "coel-inspect");
  cli.set_version_flag("--version", std::string("coel-inspect ") + COEL_VERSION);
  cli.footer("Commands:\n" + inspect::help_text() +
             "\nExit codes: 0 done, 1 the node refused, 2 usage, 3 no node can be reached, 130 "
             "interrupted; of several\ncommands the worst. NO_COLOR turns colours off.");
  app::connection_options connection;
  std::vector<std::string> commands;
  bool json = false;
  app::add_connection_options(cli, connection);
  cli.add_option("-e", commands, "Run this command and end; may be given again")
      ->type_name("COMMAND")
      ->allow_extra_args(false);
  cli.add_flag("--json", json, "Print the node's documents as JSON, one a line");
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return cli.exit(e) == 0 ? app::exit_good : app::exit_usage;
  }
  if (auto good = check(commands); !good) {
    std::cerr << "coel-inspect: " << to_string(good.err()) << "\n";
    return app::exit_usage;
  }
  inspect::shell shell(connection, json);
  if (auto attached = shell.attach(); !attached) {
    std::cerr << "coel-inspect: " << to_string(attached.err()) << "\n";
    return app::exit_unreachable;
  }
  return commands.empty() ? shell.run_interactively() : run_all(shell, commands);
}
