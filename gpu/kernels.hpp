// Every kernel there is: its body, its arguments, the threads of its blocks. cuda/*.cu make them
// for a card; the emulator of the tests for the host.
#pragma once

#include "gpu/attend_kernel.hpp"
#include "gpu/choose_kernel.hpp"
#include "gpu/float_kernel.hpp"
#include "gpu/matrix_kernel.hpp"
#include "gpu/row_kernels.hpp"

#include <array>

namespace coel::gpu {

/// Tiles of 8 input rows of the matrix kernels, rows of the float kernels, queries of the attention
/// kernels: a launch takes the smallest that fits, as a power of two.
inline constexpr uint32_t tile_sizes = 4; ///< 1, 2, 4, 8

/// Panels of a block: more rows, more use of each input block.
constexpr uint32_t panels_of_block(uint32_t tiles) {
  return tiles == 1 ? 1 : 2;
}

// clang-format off
#define COEL_TILED(X, name, Args, threads, body) \
  X(name##_1, Args, threads, (body(1)))          \
  X(name##_2, Args, threads, (body(2)))          \
  X(name##_4, Args, threads, (body(4)))          \
  X(name##_8, Args, threads, (body(8)))
#define COEL_Q8_0(n) multiply_panels<unit_q8_0, panels_of_block(n), n>
#define COEL_Q4_0(n) multiply_panels<unit_q4_0, panels_of_block(n), n>
#define COEL_Q4_K(n) multiply_panels<unit_k45<false>, panels_of_block(n), n>
#define COEL_Q5_K(n) multiply_panels<unit_k45<true>, panels_of_block(n), n>
#define COEL_Q6_K(n) multiply_panels<unit_q6_k, panels_of_block(n), n>
#define COEL_F32(n) multiply_floats<f32_element, n>
#define COEL_F16(n) multiply_floats<f16_element, n>
#define COEL_BF16(n) multiply_floats<bf16_element, n>
#define COEL_ATTEND(n) attend<n>

/// X(name, arguments, threads, body); those with four sizes follow one another. Lists of their own,
/// so that they are compiled beside each other.
#define COEL_ROW_KERNELS(X)                                            \
  X(quantise, quantise_args, row_threads, (quantise))                  \
  X(swiglu, swiglu_args, row_threads, (swiglu))                        \
  X(combine, combine_args, row_threads, (combine))                     \
  X(norm, norm_args, row_threads, (norm))                              \
  X(norm_short, norm_args, row_threads, (norm_short))                  \
  X(route, route_args, row_threads, (route))                           \
  X(embed, embed_args, row_threads, (embed))                           \
  X(gather, gather_args, row_threads, (gather))                        \
  X(add, elements_args, row_threads, (add))                            \
  X(sigmoid, elements_args, row_threads, (sigmoid))                    \
  X(choose, choose_args, row_threads, (choose))                        \
  X(rotate_and_store, rotate_args, attend_threads, (rotate_and_store)) \
  X(join_splits, join_args, attend_threads, (join_splits))             \
  COEL_TILED(X, attend, attend_args, attend_threads, COEL_ATTEND)
#define COEL_FLOAT_KERNELS(X)                                       \
  COEL_TILED(X, matrix_f32, matrix_args, float_threads, COEL_F32)   \
  COEL_TILED(X, matrix_f16, matrix_args, float_threads, COEL_F16)   \
  COEL_TILED(X, matrix_bf16, matrix_args, float_threads, COEL_BF16)
#define COEL_BLOCK_KERNELS(X)                                        \
  COEL_TILED(X, matrix_q8_0, matrix_args, matrix_threads, COEL_Q8_0) \
  COEL_TILED(X, matrix_q4_0, matrix_args, matrix_threads, COEL_Q4_0)
#define COEL_K_KERNELS(X)                                            \
  COEL_TILED(X, matrix_q4_k, matrix_args, matrix_threads, COEL_Q4_K) \
  COEL_TILED(X, matrix_q5_k, matrix_args, matrix_threads, COEL_Q5_K) \
  COEL_TILED(X, matrix_q6_k, matrix_args, matrix_threads, COEL_Q6_K)
#define COEL_KERNELS(X) COEL_ROW_KERNELS(X) COEL_FLOAT_KERNELS(X) COEL_BLOCK_KERNELS(X) COEL_K_KERNELS(X)
// clang-format on

enum class kernel : uint32_t {
#define COEL_NAME(name, Args, threads, body) name,
  COEL_KERNELS(COEL_NAME)
#undef COEL_NAME
      count
};
inline constexpr size_t kernel_count = static_cast<size_t>(kernel::count);

struct kernel_info {
  const char* name;
  uint32_t threads;
  uint32_t args_bytes;
};

inline constexpr std::array<kernel_info, kernel_count> kernel_infos{{
#define COEL_INFO(name, Args, threads, body) {#name, threads, sizeof(Args)},
    COEL_KERNELS(COEL_INFO)
#undef COEL_INFO
}};

constexpr const kernel_info& info(kernel k) {
  return kernel_infos[static_cast<size_t>(k)];
}

/// Which of the four sizes covers n, and the kernel of that size.
constexpr uint32_t size_index(uint32_t n) {
  return n <= 1 ? 0 : n <= 2 ? 1 : n <= 4 ? 2 : 3;
}
constexpr kernel sized(kernel first, uint32_t index) {
  return static_cast<kernel>(static_cast<uint32_t>(first) + index);
}
constexpr kernel matrix_kernel_of(dtype type, uint32_t index) {
  return sized(kernel::matrix_f32_1, static_cast<uint32_t>(type) * tile_sizes + index);
}

} // namespace coel::gpu
