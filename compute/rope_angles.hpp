// Angles of rotary position embedding (Su et al., RoFormer, 2021), the same on every device.
#pragma once

#include "compute/ops.hpp"

namespace coel::compute {

/// Whether both take their angles from one table.
bool same_angles(const rope_params& a, const rope_params& b);

/// Row of a position: dims / 2 cosines, then dims / 2 sines.
void fill_angles(const rope_params& params, uint32_t position, float* row);

} // namespace coel::compute
