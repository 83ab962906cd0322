// Speed of the device's operations at the sizes of Qwen1.5-MoE, over weights that no cache holds.
#pragma once

#include "compute/device.hpp"

#include <vector>

namespace coel::bench {

struct kernel_time {
  std::string what;
  double us = 0;
  double bytes = 0;         ///< of weights or pages that it must read
  double multiply_adds = 0; ///< that it must do
};

/// One type's projections: 1, 4, 16, 64 and 512 rows. Errors: those of the device.
result<std::vector<kernel_time>> time_projections(compute::device& on, dtype type);

/// The eight experts of a decode step (four chosen, four of the shared one), for 1, 16 and 64
/// sessions that choose evenly. Errors: as above.
result<std::vector<kernel_time>> time_experts(compute::device& on, dtype type);

/// One layer's attention: decoding after 512, 4096 and 32768 tokens, 16 sessions after 1024, and a
/// prompt of 512.
result<std::vector<kernel_time>> time_attention(compute::device& on);

} // namespace coel::bench
