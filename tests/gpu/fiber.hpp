// Threads of a block on one thread of the host: each has a stack, and hands over by itself.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ucontext.h>

namespace coel::gpu {

/// All calls up to the next forget() come from one thread of the host.
class fiber {
 public:
  /// Goes on where it left, or begins `body`, which must end with leave(true) and is begun again
  /// by going on from there. Returns when it leaves.
  void enter(void (*body)());
  /// From inside.
  void leave(bool ended);
  /// The next enter() begins anew, wherever it was.
  void forget() { begun_ = false; }

 private:
  void begin(void (*body)());
  static void run();

  static constexpr size_t stack_bytes = 256 << 10;
  std::unique_ptr<std::byte[]> stack_{new std::byte[stack_bytes]};
  void (*body_)() = nullptr;
  bool begun_ = false;
  ucontext_t inside_;
  ucontext_t outside_;
  // swapcontext calls the kernel for the signal mask; these two do not
  std::jmp_buf jump_in_;
  std::jmp_buf jump_out_;
  // of the address sanitizer
  void* fake_stack_ = nullptr;
  void* outside_fake_stack_ = nullptr;
  const void* outside_bottom_ = nullptr;
  size_t outside_size_ = 0;
};

} // namespace coel::gpu
