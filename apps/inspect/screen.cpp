#include "apps/inspect/screen.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace coel::inspect {

namespace {

constexpr size_t usual_width = 80, narrowest = 20, widest = 1000;

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}

bool moves_cursor() {
  auto term = variable("TERM");
  return is_terminal() && !term.empty() && term != "dumb";
}

winsize size_of_terminal() {
  winsize size{};
  if (!is_terminal() || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
    size = {};
  return size;
}

} // namespace

look terminal() {
  look how;
  size_t width = size_of_terminal().ws_col;
  if (width == 0)
    width = std::strtoul(std::string(variable("COLUMNS")).c_str(), nullptr, 10);
  how.width = std::clamp(width ? width : usual_width, narrowest, widest);
  how.colour = moves_cursor() && variable("NO_COLOR").empty();
  how.unicode = std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
  return how;
}

size_t terminal_lines() {
  return moves_cursor() ? size_of_terminal().ws_row : 0;
}

void clear_screen() {
  std::cout << "\x1b[2J" << std::flush;
}

void redraw(const std::string& text, size_t lines) {
  std::string out = "\x1b[H";
  size_t drawn = 0;
  for (size_t at = 0; at < text.size() && drawn + 1 < lines; ++drawn) {
    auto end = std::min(text.find('\n', at), text.size());
    out.append(text, at, end - at).append("\x1b[K\n");
    at = end + 1;
  }
  std::cout << out << "\x1b[J" << std::flush;
}

} // namespace coel::inspect
