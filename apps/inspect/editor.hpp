// Reads commands from a person, with editing, history and TAB, or plainly from a pipe.
#pragma once

#include "apps/inspect/completion.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace coel::inspect {

class editor {
 public:
  /// What the line before the cursor may go on with; called at each TAB.
  using completer = std::function<completion(const std::string& line)>;

  explicit editor(completer complete);
  ~editor();

  /// True if a person sits there.
  bool interactive() const { return state_ != nullptr; }

  /// One line; empty after Ctrl-C; nothing at the end of input. An interrupt_guard must live.
  std::optional<std::string> read();

 private:
  struct state;
  std::unique_ptr<state> state_; // none where input is not a terminal
};

} // namespace coel::inspect
