// Which kernel sets this machine can run.
#pragma once

#include "cpu/planner.hpp"

namespace coel::cpu {

/// Best first; the reference is last.
std::vector<const kernel_set*> usable_sets();

} // namespace coel::cpu
