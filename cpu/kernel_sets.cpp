#include "cpu/kernel_sets.hpp"

namespace coel::cpu {

std::vector<const kernel_set*> usable_sets() {
  return {&reference_kernels()};
}

} // namespace coel::cpu
