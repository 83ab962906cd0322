// What a card can do at most: the bounds that the kernels' speed is compared with.
#pragma once

#include "common/result.hpp"

#include <cstdint>
#include <string>

namespace coel::gpu {

struct card_limits {
  double copy_gb_s = 0;    ///< inside the card's memory, bytes read and bytes written
  double to_card_gb_s = 0; ///< from pinned host memory
  double to_host_gb_s = 0;
  double f16_tflop_s = 0;  ///< cuBLAS, 8192^3, random values, sums in f32; 0: not measured
  std::string f16_missing; ///< why not
};

/// About a second. Errors: unsupported, out_of_memory, device_lost.
result<card_limits> measure_limits(uint32_t card);

} // namespace coel::gpu
