// The functions that a set of vector instructions provides; packed_set.cpp builds operations of
// them.
#pragma once

#include "common/dtype.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace coel::cpu {

/// 32 columns of an input row as int8 with one scale, in one cache line. The sums serve weights
/// that are stored with an offset: w = scale * (u - 8) makes the dot product start at -8 * sum.
struct alignas(64) input_block {
  int8_t q[32]; ///< x = scale * q, q in [-127, 127]
  float scale;
  float sum; ///< scale * sum of q
  int32_t minus_8_sum;
  int32_t minus_128_sum;
  int32_t minus_32_sum[2]; ///< of columns 0..15 and 16..31
  int32_t unused[2];
};
static_assert(sizeof(input_block) == 64);

/// An input row: floats for float weights, else input blocks.
union input_row {
  const float* values;
  const input_block* blocks;
};

/// Most rows that a panel function takes at once.
inline constexpr uint32_t most_tile_rows = 8;

/// out[i][r] = dot(panel row r, x[i]) for i < rows. The arithmetic of one i is the same for any
/// `rows`, so that a row's result does not depend on its company.
using panel_fn = void (*)(const std::byte* panel, uint32_t cols, const input_row* x, uint32_t rows,
                          float (*out)[16]);

/// Keys of 16 or 32 tokens, [head_dim, stride] in f16, and their values, [tokens, head_dim] in f16.
struct kv_chunk {
  const uint16_t* keys = nullptr;
  const uint16_t* values = nullptr;
  uint32_t stride = 0;
  uint32_t tokens = 0; ///< 16 or 32
};
inline constexpr uint32_t most_chunk_tokens = 32;

/// Attention of one query so far: softmax relative to the largest score seen (online softmax).
struct query_state {
  const float* q = nullptr; ///< [head_dim]
  float* mix = nullptr;     ///< [head_dim], sum of weight * value
  float largest = 0;
  float total = 0;      ///< sum of weights
  uint32_t visible = 0; ///< tokens of the next chunk that it may see; 0: leave it alone
};

struct vector_kernels {
  std::string_view name;
  std::array<panel_fn, dtype_count> panel;
  void (*quantise)(const float* x, uint32_t blocks, input_block* out);
  /// gate[i] = silu(gate[i]) * up[i]; n is a multiple of 16.
  void (*swiglu)(float* gate, const float* up, uint32_t n);
  void (*to_f16)(const float* in, uint16_t* out, uint32_t n);
  /// Adds a chunk to each query's state. head_dim is a multiple of 16.
  void (*attend)(const kv_chunk& chunk, uint32_t head_dim, float scale, query_state* queries,
                 uint32_t count);
};

/// The sets of this build; null where the processor lacks what they need.
const vector_kernels* avx512_vnni_kernels();
const vector_kernels* avx2_kernels();

} // namespace coel::cpu
