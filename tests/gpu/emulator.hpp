// Runs kernel bodies on the host, every thread of a block as a fiber: barriers and exchanges inside
// a warp wait for all, as on a card. Between them the threads run in an order that is drawn anew
// for every block, so that a missing barrier shows as a wrong result.
#pragma once

#include "gpu/kernels.hpp"

namespace coel::gpu {

struct grid_size {
  uint32_t x = 1, y = 1, z = 1;
};

/// Runs all blocks, one after another. Throws std::logic_error where threads of a block or a warp
/// wait for others that have left.
void emulate(kernel k, grid_size grid, const void* args, uint32_t seed = 1);

} // namespace coel::gpu
