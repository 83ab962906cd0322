// Quantised weights as the matrix kernel streams them: panels of 16 rows, cut along the columns
// into units of 32 (q8_0, q4_0) or 256 (k-quants). Inside a unit the bytes lie as a warp loads
// them: lane 4 g + t needs rows g and g + 8, and of each run of 32 bytes the words t and 4 + t.
// Nothing is expanded but the 6-bit scales of q4_k and q5_k, to bytes: no type grows by over 3 %.
//
//   q4_0  32 x {word t of row g, of row g + 8}; 8 x {f16 scale of row g, of row g + 8}
//   q8_0  32 x {word t of row g, of g + 8, word 4 + t of row g, of g + 8}; scales as q4_0
//   q4_k  4 groups of two sub-blocks, each as the bytes of q8_0; scale words; ends
//   q5_k  the fifth bits, as the bytes of q8_0; then as q4_k
//   q6_k  for each half: nibbles of runs 0 and 2, of runs 1 and 3, bit pairs, each as the bytes of
//         q8_0; scale words; 8 x {f16 d of row g, of row g + 8}
// Scale words: 8 rows g of 8 words, for each sub-block {scale, min of row g, of row g + 8}, or in
// q6_k, for each run of 32 {scale of its first 16 columns, of the others, of row g, of g + 8}.
// Ends: 8 x {f16 d, dmin of row g, of row g + 8}.
#pragma once

#include "common/dtype.hpp"
#include "compute/matrix.hpp"
#include "gpu/simt.hpp"

namespace coel::gpu {

inline constexpr uint32_t panel_rows = 16;
inline constexpr uint32_t block_cols = 32; ///< columns that share one scale of the input

/// Bytes of one run of 32 bytes a row, for 16 rows; of a unit's scale words; and of a pair of f16
/// (or of two) for 8 row pairs.
inline constexpr uint32_t run_bytes = 32 * panel_rows;
inline constexpr uint32_t scale_words_bytes = 8 * 8 * 4;
inline constexpr uint32_t pair_bytes = 8 * 4;
inline constexpr uint32_t ends_bytes = 8 * 8;

struct unit_shape {
  uint32_t cols;
  uint32_t bytes;
};

/// Of a quantised type.
constexpr unit_shape unit_of(dtype type) {
  switch (type) {
  case dtype::q8_0:
    return {32, run_bytes + pair_bytes};
  case dtype::q4_0:
    return {32, run_bytes / 2 + pair_bytes};
  case dtype::q4_k:
    return {256, 4 * run_bytes + scale_words_bytes + ends_bytes};
  case dtype::q5_k:
    return {256, 5 * run_bytes + scale_words_bytes + ends_bytes};
  case dtype::q6_k:
    return {256, 6 * run_bytes + scale_words_bytes + pair_bytes};
  default:
    return {0, 0};
  }
}

constexpr uint64_t panel_bytes(dtype type, uint64_t cols) {
  return cols / unit_of(type).cols * unit_of(type).bytes;
}
constexpr uint64_t panels_of(uint64_t rows) {
  return (rows + panel_rows - 1) / panel_rows;
}

/// Writes panel `panel` of a matrix of a quantised type to out[0 .. panel_bytes); rows that the
/// matrix does not have become zeros.
void pack_panel(const compute::matrix_view& from, uint64_t panel, std::byte* out);

} // namespace coel::gpu
