// The inspector at work: commands to a node, answers to the terminal.
#pragma once

#include "apps/coel/connection.hpp"
#include "apps/inspect/command.hpp"
#include "apps/inspect/completion.hpp"

#include <nlohmann/json.hpp>

namespace coel::inspect {

/// Attached to one node; attaches again when the connection was lost. Every command gives an exit
/// code (apps/coel/commands.hpp).
class shell {
 public:
  /// `json`: documents as they come, one a line, instead of text for people.
  shell(app::connection_options connection, bool json)
      : connection_(std::move(connection)), json_(json) {}

  /// Errors: those of app::connect.
  result<void> attach();

  int run(const std::string& line);
  /// Until quit or the end of input. Input that is no terminal gives the worst of its exit codes.
  int run_interactively();

  /// True once `quit` was run.
  bool ended() const { return ended_; }

 private:
  int run(const command& what);
  int watch(const command& what);
  result<std::string> output_of(const command& what);
  result<std::string> document_of(const inspect_request& ask);
  result<std::string> document_once(const inspect_request& ask, std::chrono::milliseconds timeout);
  completion completed(const std::string& line);
  vocabulary known_to_node();
  nlohmann::json part_of(const char* document, const char* part);

  app::connection_options connection_;
  bool json_;
  bool ended_ = false;
  std::optional<net::app_client> node_;
};

} // namespace coel::inspect
