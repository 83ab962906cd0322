#include "cpu/kernel_sets.hpp"

#include "cpu/packed_set.hpp"

namespace coel::cpu {

std::vector<const kernel_set*> usable_sets() {
  static const std::vector<packed_set> vectors = [] {
    std::vector<packed_set> usable;
    for (const vector_kernels* k : {avx512_vnni_kernels(), avx2_kernels()})
      if (k)
        usable.emplace_back(*k);
    return usable;
  }();
  std::vector<const kernel_set*> sets;
  sets.reserve(vectors.size() + 1);
  for (const auto& set : vectors)
    sets.push_back(&set);
  sets.push_back(&reference_kernels());
  return sets;
}

} // namespace coel::cpu
