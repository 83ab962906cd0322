// A layer step has chosen experts of which some are not in memory, and some of those have a copy of
// fewer bits: which it waits for, one after another, by miss_choice.
#pragma once

#include "policy/miss_choice.hpp"

#include <span>
#include <vector>

namespace coel::policy {

/// In the order in which the step runs them.
struct claimed_expert {
  bool here = false; ///< in memory, or all but there
  bool copy = false; ///< one of fewer bits is in memory
  uint32_t rows = 0;
  uint64_t bytes = 0;      ///< on disk
  double under_way_us = 0; ///< its read began so long ago; 0: nothing of it is read
};

/// Measured; 0: not known.
struct miss_rates {
  double disk_bytes_per_s = 0;
  double disk_fixed_us = 0; ///< of one expert, beside its bytes
  double pack_us = 0;       ///< of one expert
  double run_fixed_us = 0;  ///< of one expert: its weights pass the processor
  double run_row_us = 0;
};

/// [claimed]; what is here: wait. Follows the step along two lines, the disk's and the processor's:
/// reads that end before their expert's turn cost nothing, so that a copy runs only where the
/// processor would stand still for longer than nothing. That fewer bits also pass it sooner is no
/// reason: a model that is faster so is had by `coel quantise`. `first_us`: what runs before all of
/// these.
std::vector<miss_way> ways_of(std::span<const claimed_expert> claimed, const miss_rates& rates,
                              double first_us = 0);

} // namespace coel::policy
