// For threads that do little and are waited for, beside others that compute all the time.
#pragma once

namespace coel::model {

/// Asks the kernel for a short slice for the calling thread (sched_setattr(2), from Linux 6.12 on):
/// it is then let in when it wakes, where it would else wait until the slice of a thread that
/// computes is over, a millisecond and more. Its share of the processor stays what it is. Where the
/// kernel does not know this, nothing changes.
void be_prompt();

} // namespace coel::model
