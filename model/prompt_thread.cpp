#include "model/prompt_thread.hpp"

#include <cstdint>
#include <cstdlib>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace coel::model {

namespace {

/// struct sched_attr of the kernel, which not every C library declares.
struct attributes {
  uint32_t size = sizeof(attributes);
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;
};

constexpr uint64_t slice_ns = 100'000; // the least that the kernel takes

} // namespace

void be_prompt() {
  if (::getenv("COEL_NOT_PROMPT") || ::sched_getscheduler(0) != SCHED_OTHER)
    return; // somebody has given it more
  attributes wish;
  wish.nice = ::getpriority(PRIO_PROCESS, 0); // of this thread
  wish.runtime_ns = slice_ns;
  ::syscall(SYS_sched_setattr, 0, &wish, 0u); // a wish
}

} // namespace coel::model
