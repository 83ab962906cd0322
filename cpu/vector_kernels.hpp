// The functions that a set of vector instructions provides.
#pragma once

#include "common/dtype.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace coel::cpu {

/// An input row: float, and for quantised weights int8 in blocks of 32 columns, x = scale * q.
struct act_row {
  const float* f = nullptr;        ///< [cols]
  const int8_t* q = nullptr;       ///< [cols]
  const float* scale = nullptr;    ///< [cols / 32]
  const int32_t* sums = nullptr;   ///< [cols / 16]: sums of q over 16 columns
};

/// Bytes that a quantised row takes, and where its parts lie in them.
constexpr uint64_t act_bytes(uint32_t cols) { return uint64_t{cols} + cols / 32 * 4 + cols / 16 * 4; }
inline act_row act_at(std::byte* memory, const float* f, uint32_t cols) {
  auto* q = reinterpret_cast<int8_t*>(memory);
  auto* scale = reinterpret_cast<float*>(memory + cols);
  return {f, q, scale, reinterpret_cast<int32_t*>(scale + cols / 32)};
}

/// Largest number of input rows that a panel function takes at once.
inline constexpr uint32_t max_tile_rows = 8;

/// out[i][r] = dot(panel row r, x[i]) for i < rows. Element for element the same arithmetic for any
/// `rows`, so a row's result does not depend on its company.
using panel_fn = void (*)(const std::byte* panel, uint32_t cols, const act_row* x, uint32_t rows,
                          float (*out)[16]);

/// Largest number of query rows that an attention function takes at once.
inline constexpr uint32_t max_queries = 8;

/// What a set of vector instructions provides; packed_set.cpp builds the operations from it.
struct vector_kernels {
  std::string_view name;
  bool (*usable)() = nullptr;
  std::array<panel_fn, dtype_count> panel{};                            ///< by dtype
  /// Fills the act_at() memory of a row.
  void (*quantise)(const float* x, uint32_t cols, std::byte* act) = nullptr;
  /// gate = silu(gate) * up
  void (*swiglu)(float* gate, const float* up, uint32_t n) = nullptr;
  void (*to_halves)(const float* x, uint16_t* out, uint32_t n) = nullptr;
  /// out[i][t] = dot(q[i], key t) for 16 tokens of a page; keys are [head_dim, stride].
  void (*scores)(const uint16_t* keys, uint32_t stride, uint32_t head_dim, const float* const* q,
                 uint32_t queries, float (*out)[16]) = nullptr;
  /// acc[i] += sum over t < tokens of p[i][t] * value t; values are [tokens, head_dim], acc [head_dim].
  void (*mix)(const uint16_t* values, uint32_t head_dim, uint32_t tokens, const float (*p)[16],
              uint32_t queries, float* const* acc) = nullptr;
};

extern const vector_kernels avx512_kernels;

} // namespace coel::cpu
