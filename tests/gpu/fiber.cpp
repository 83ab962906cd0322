#undef _FORTIFY_SOURCE // its longjmp takes another stack for an error
#include "fiber.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace coel::gpu {

namespace {

fiber* entered = nullptr; // makecontext passes no pointers

} // namespace

void fiber::begin(void (*body)()) {
  begun_ = true;
  body_ = body;
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_.get();
  inside_.uc_stack.ss_size = stack_bytes;
  inside_.uc_link = nullptr;
  makecontext(&inside_, run, 0);
}

#if defined(__SANITIZE_ADDRESS__)

// It follows swapcontext, told of both stacks; a fiber that ends is begun on a new fake stack.
void fiber::enter(void (*body)()) {
  if (!begun_)
    begin(body);
  entered = this;
  __sanitizer_start_switch_fiber(&outside_fake_stack_, stack_.get(), stack_bytes);
  swapcontext(&outside_, &inside_);
  __sanitizer_finish_switch_fiber(outside_fake_stack_, nullptr, nullptr);
}

void fiber::leave(bool ended) {
  begun_ = !ended;
  __sanitizer_start_switch_fiber(ended ? nullptr : &fake_stack_, outside_bottom_, outside_size_);
  swapcontext(&inside_, &outside_);
  __sanitizer_finish_switch_fiber(fake_stack_, &outside_bottom_, &outside_size_);
}

void fiber::run() {
  __sanitizer_finish_switch_fiber(nullptr, &entered->outside_bottom_, &entered->outside_size_);
  entered->body_();
}

#else

void fiber::enter(void (*body)()) {
  if (_setjmp(jump_out_) != 0)
    return;
  if (begun_)
    _longjmp(jump_in_, 1);
  begin(body);
  entered = this;
  setcontext(&inside_);
}

void fiber::leave(bool) {
  if (_setjmp(jump_in_) == 0)
    _longjmp(jump_out_, 1);
}

void fiber::run() {
  for (fiber* self = entered;;)
    self->body_();
}

#endif

} // namespace coel::gpu
