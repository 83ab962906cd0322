// Whether numbers are fit to be added up and sent.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace coel {

/// Neither infinite nor NaN. One pass without a branch, so that compilers vectorise it.
inline bool all_finite(std::span<const float> values) {
  constexpr uint32_t exponent = 0x7f800000u; // all ones: infinite or NaN
  uint32_t bad = 0;
  for (float value : values)
    bad |= (std::bit_cast<uint32_t>(value) & exponent) == exponent;
  return bad == 0;
}

} // namespace coel
