#include "apps/coel/line_editor.hpp"

#include "apps/coel/interrupt.hpp"
#include "apps/coel/key_reader.hpp"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <histedit.h>
#include <iostream>
#include <unistd.h>

namespace coel::app {

namespace fs = std::filesystem;

namespace {

constexpr int lines_remembered = 1000;

std::string history_path(const std::string& name) {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  fs::path base = state != nullptr && *state != '\0' ? fs::path(state)
                  : home != nullptr                  ? fs::path(home) / ".local/state"
                                                     : fs::path();
  if (base.empty())
    return {};
  std::error_code failure;
  fs::create_directories(base / "coel", failure);
  fs::permissions(base / "coel", fs::perms::owner_all, failure); // prompts are private
  return (base / "coel" / name).string();
}

} // namespace

struct line_editor::state {
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string file;
  const char* prompt = "";
};

line_editor::line_editor(const std::string& history_name) {
  if (::isatty(STDIN_FILENO) != 1)
    return;
  std::setlocale(LC_CTYPE, "");
  state_ = std::make_unique<state>();
  auto& s = *state_;
  s.editor = ::el_init("coel", stdin, stdout, stderr);
  s.history = ::history_init();
  s.file = history_path(history_name);
  ::history(s.history, &s.event, H_SETSIZE, lines_remembered);
  ::history(s.history, &s.event, H_SETUNIQUE, 1);
  if (!s.file.empty())
    ::history(s.history, &s.event, H_LOAD, s.file.c_str());
  ::el_set(s.editor, EL_CLIENTDATA, &s);
  ::el_set(
      s.editor, EL_PROMPT, +[](EditLine* editor) -> char* {
        state* self = nullptr;
        ::el_get(editor, EL_CLIENTDATA, &self);
        return const_cast<char*>(self->prompt);
      });
  ::el_set(s.editor, EL_EDITOR, "emacs");
  ::el_set(s.editor, EL_GETCFN, read_key);
  ::el_set(s.editor, EL_HIST, ::history, s.history);
  ::el_source(s.editor, nullptr); // the user's ~/.editrc
}

line_editor::~line_editor() {
  if (!state_)
    return;
  if (!state_->file.empty())
    ::history(state_->history, &state_->event, H_SAVE, state_->file.c_str());
  ::history_end(state_->history);
  ::el_end(state_->editor);
}

bool line_editor::interactive() const {
  return state_ != nullptr;
}

std::optional<std::string> line_editor::read(const char* prompt) {
  if (!state_) {
    std::string line;
    return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
  }
  auto& s = *state_;
  s.prompt = prompt;
  int length = 0;
  const char* got = ::el_gets(s.editor, &length);
  if (interrupt_guard::take()) {
    ::el_reset(s.editor);
    std::puts("");
    return std::string();
  }
  if (got == nullptr || length <= 0)
    return std::nullopt;
  std::string line(got, static_cast<size_t>(length));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
    line.pop_back();
  if (!line.empty())
    ::history(s.history, &s.event, H_ENTER, line.c_str());
  return line;
}

} // namespace coel::app
