// Ctrl-C as something to ask about instead of the end of the program.
#pragma once

#include <signal.h>

namespace coel::app {

/// While it lives, SIGINT is remembered and interrupts waiting system calls.
class interrupt_guard {
 public:
  interrupt_guard();
  ~interrupt_guard();
  interrupt_guard(const interrupt_guard&) = delete;
  interrupt_guard& operator=(const interrupt_guard&) = delete;

  /// True once per Ctrl-C.
  static bool take();
  /// As take(), and it stays so.
  static bool pending();

 private:
  struct sigaction before_ {};
};

} // namespace coel::app
