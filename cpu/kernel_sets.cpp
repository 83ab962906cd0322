#include "cpu/kernel_sets.hpp"

#include "cpu/packed_set.hpp"

namespace coel::cpu {

std::vector<const kernel_set*> usable_sets() {
  static const packed_set avx512(avx512_kernels);
  std::vector<const kernel_set*> sets;
  if (avx512_kernels.usable())
    sets.push_back(&avx512);
  sets.push_back(&reference_kernels());
  return sets;
}

} // namespace coel::cpu
