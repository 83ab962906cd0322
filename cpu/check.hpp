// Whether a command list can run at all: shapes, ranges, and things made by this device.
#pragma once

#include "cpu/planner.hpp"

namespace coel::cpu {

/// Errors: bad_argument, naming the operation and what is wrong with it. Pointers are only checked
/// for null: that they point to memory of the right size is the caller's promise.
result<void> check(const compute::command_list& list, const kernel_set& kernels);

} // namespace coel::cpu
