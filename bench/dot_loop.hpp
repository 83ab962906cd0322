// A loop of 8-bit dot products that stays in registers: the arithmetic limit of a core.
#pragma once

#include <cstdint>

namespace coel::bench {

struct dot_loop {
  const char* name;
  uint64_t multiply_adds;                       ///< of one round
  int32_t (*run)(uint64_t rounds, int8_t seed); ///< the sum, so that nothing is left out
};

/// The fastest that this processor has.
dot_loop best_dot_loop();

} // namespace coel::bench
