#include "apps/inspect/editor.hpp"

#include "apps/coel/interrupt.hpp"
#include "apps/coel/key_reader.hpp"
#include "apps/inspect/screen.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <histedit.h>
#include <iostream>
#include <unistd.h>

namespace coel::inspect {

namespace fs = std::filesystem;

namespace {

constexpr int lines_remembered = 1000;
constexpr size_t candidates_shown = 200;

/// In the user's state folder, which is made for them alone; empty if there is none.
std::string history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  fs::path base = state != nullptr && *state == '/' ? fs::path(state)
                  : home != nullptr && *home == '/' ? fs::path(home) / ".local/state"
                                                    : fs::path();
  if (base.empty())
    return {};
  std::error_code failure;
  fs::create_directories(base / "coel", failure);
  fs::permissions(base / "coel", fs::perms::owner_all, failure);
  return (base / "coel/inspect_history").string();
}

void show(const std::vector<std::string>& candidates) {
  std::vector<std::string> some(
      candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(
                                                   std::min(candidates.size(), candidates_shown)));
  for (auto& name : some)
    name = printable(name);
  if (some.size() < candidates.size())
    some.push_back("and " + number_text(candidates.size() - some.size()) + " more");
  std::cout << "\n" << wrapped(some, "  ", 0, terminal().width) << std::flush;
}

} // namespace

struct editor::state {
  EditLine* line = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string file;
  completer complete;

  static state* of(EditLine* line) {
    state* self = nullptr;
    ::el_get(line, EL_CLIENTDATA, &self);
    return self;
  }
  static unsigned char on_tab(EditLine* line, int) {
    const auto* now = ::el_line(line);
    auto found = of(line)->complete(std::string(now->buffer, now->cursor));
    if (found.candidates.empty())
      return CC_ERROR;
    auto more = continuation(found);
    if (more.empty()) {
      show(found.candidates);
      return CC_REDISPLAY;
    }
    return ::el_insertstr(line, more.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }
};

editor::editor(completer complete) {
  if (::isatty(STDIN_FILENO) != 1)
    return;
  state_ = std::make_unique<state>();
  auto& s = *state_;
  s.complete = std::move(complete);
  s.line = ::el_init("coel-inspect", stdin, stdout, stderr);
  s.history = ::history_init();
  s.file = history_path();
  ::history(s.history, &s.event, H_SETSIZE, lines_remembered);
  ::history(s.history, &s.event, H_SETUNIQUE, 1);
  if (!s.file.empty())
    ::history(s.history, &s.event, H_LOAD, s.file.c_str());
  ::el_set(s.line, EL_CLIENTDATA, &s);
  ::el_set(
      s.line, EL_PROMPT, +[](EditLine*) -> char* { return const_cast<char*>("coel> "); });
  ::el_set(s.line, EL_EDITOR, "emacs");
  ::el_set(s.line, EL_GETCFN, app::read_key);
  ::el_set(s.line, EL_HIST, ::history, s.history);
  ::el_set(s.line, EL_ADDFN, "coel-complete", "complete the word", &state::on_tab);
  ::el_set(s.line, EL_BIND, "^I", "coel-complete", nullptr);
  ::el_source(s.line, nullptr); // the user's ~/.editrc
}

editor::~editor() {
  if (!state_)
    return;
  if (!state_->file.empty())
    ::history(state_->history, &state_->event, H_SAVE, state_->file.c_str());
  ::history_end(state_->history);
  ::el_end(state_->line);
}

std::optional<std::string> editor::read() {
  if (!state_) {
    std::string line;
    return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
  }
  auto& s = *state_;
  ::el_resize(s.line);
  int length = 0;
  const char* got = ::el_gets(s.line, &length);
  if (app::interrupt_guard::take()) {
    ::el_reset(s.line);
    std::puts("");
    return std::string();
  }
  if (got == nullptr || length <= 0) {
    std::puts("");
    return std::nullopt;
  }
  std::string line(got, static_cast<size_t>(length));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
    line.pop_back();
  if (!line.empty())
    ::history(s.history, &s.event, H_ENTER, line.c_str());
  return line;
}

} // namespace coel::inspect
