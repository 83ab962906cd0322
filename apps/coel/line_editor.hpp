// Reads lines from a person (editing, history) or from a pipe (plainly).
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace coel::app {

class line_editor {
 public:
  /// On a terminal, lines are remembered in `history_name` under $XDG_STATE_HOME/coel.
  explicit line_editor(const std::string& history_name);
  ~line_editor();

  /// True if a person sits there: prompts and statistics make sense.
  bool interactive() const;

  /// One line without its newline; empty after Ctrl-C; nothing at the end of input (Ctrl-D).
  std::optional<std::string> read(const char* prompt);

 private:
  struct state;
  std::unique_ptr<state> state_; // none where input is not a terminal
};

} // namespace coel::app
