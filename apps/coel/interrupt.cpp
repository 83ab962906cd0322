#include "apps/coel/interrupt.hpp"

namespace coel::app {

namespace {

volatile sig_atomic_t pressed = 0;

void on_interrupt(int) {
  pressed = 1;
}

} // namespace

interrupt_guard::interrupt_guard() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0; // no SA_RESTART: a wait for a key or an answer must end
  pressed = 0;
  ::sigaction(SIGINT, &action, &before_);
}

interrupt_guard::~interrupt_guard() {
  ::sigaction(SIGINT, &before_, nullptr);
}

bool interrupt_guard::take() {
  bool was = pressed != 0;
  pressed = 0;
  return was;
}

bool interrupt_guard::pending() {
  return pressed != 0;
}

} // namespace coel::app
