// Where the entries of the kernels are: what cudaLaunchKernel takes. The one parameter of each is
// the arguments of that kernel.
#pragma once

#include "gpu/kernels.hpp"

namespace coel::gpu {

extern const void* const row_entries[];
extern const void* const float_entries[];
extern const void* const block_entries[];
extern const void* const k_entries[];

inline const void* cuda_entry(kernel k) {
  constexpr auto first_float = static_cast<size_t>(kernel::matrix_f32_1);
  constexpr auto first_block = static_cast<size_t>(kernel::matrix_q8_0_1);
  constexpr auto first_k = static_cast<size_t>(kernel::matrix_q4_k_1);
  auto i = static_cast<size_t>(k);
  return i < first_float   ? row_entries[i]
         : i < first_block ? float_entries[i - first_float]
         : i < first_k     ? block_entries[i - first_block]
                           : k_entries[i - first_k];
}

} // namespace coel::gpu
