#include "compute/rope_angles.hpp"

#include <cmath>

namespace coel::compute {

bool same_angles(const rope_params& a, const rope_params& b) {
  return a.dims == b.dims && a.base == b.base && a.scale == b.scale;
}

void fill_angles(const rope_params& params, uint32_t position, float* row) {
  uint32_t half = params.dims / 2;
  for (uint32_t i = 0; i < half; ++i) {
    double frequency = std::pow(double{params.base}, -2.0 * i / params.dims);
    double angle = position * double{params.scale} * frequency;
    row[i] = static_cast<float>(std::cos(angle));
    row[half + i] = static_cast<float>(std::sin(angle));
  }
}

} // namespace coel::compute
