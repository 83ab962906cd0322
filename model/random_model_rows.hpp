// Rows of random weights of any type, drawn as codes where the type is quantised: fast enough to be
// bound by the disk. A stream depends on its seed alone.
#pragma once

#include "common/dtype.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace coel::model {

/// splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
class random_bits {
 public:
  explicit random_bits(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In [0, n), n far below 2^32.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }

 private:
  uint64_t state_;
};

/// out[0..n) = standard normal values (65536 quantiles, so none beyond 4.3 sigma).
void draw_gaussian(random_bits& random, float* out, uint64_t n);

/// A row of n elements of standard deviation `sigma` in `type`, n a multiple of the block length.
void draw_row(dtype type, random_bits& random, float sigma, std::byte* out, uint64_t n);

} // namespace coel::model
