#include "apps/coel/key_reader.hpp"

#include "apps/coel/interrupt.hpp"

#include <cerrno>
#include <cwchar>
#include <poll.h>
#include <unistd.h>

namespace coel::app {

namespace {

constexpr int look_every_ms = 100;

/// False: Ctrl-C. An error of poll() is left for read() to tell.
bool await_key() {
  for (;;) {
    if (interrupt_guard::pending())
      return false;
    pollfd terminal{STDIN_FILENO, POLLIN, 0};
    auto ready = ::poll(&terminal, 1, look_every_ms);
    if (ready > 0 || (ready < 0 && errno != EINTR))
      return true;
  }
}

} // namespace

int read_key(EditLine*, wchar_t* key) {
  std::mbstate_t shift{};
  for (;;) {
    if (!await_key()) {
      errno = EINTR;
      return -1;
    }
    char byte = 0;
    auto got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return static_cast<int>(got);
    auto length = std::mbrtowc(key, &byte, 1, &shift);
    if (length == static_cast<size_t>(-1))
      shift = {}; // no character of this locale: drop it
    else if (length != static_cast<size_t>(-2))
      return 1;
  }
}

} // namespace coel::app
