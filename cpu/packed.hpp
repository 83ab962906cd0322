// Weights in the layout that the vector kernels stream: panels of 16 rows, so that a vector of 64
// bytes holds four consecutive columns of each row and a dot product needs no sum across a vector.
//
// A panel is a run of units: 32 columns for q8_0 and q4_0, 256 for the k-quants, one column for
// float types. "Plane j" is 64 bytes: bytes 4j..4j+3 of a run of bytes of each row, as the file has
// them; so the file's own packing of nibbles and bits survives, and packing is a copy of words.
//   q8_0  8 planes (with 128 added, so unsigned); 16 f16 scales
//   q4_0  4 planes; 16 f16 scales
//   q4_k  16 f16 d; 16 f16 dmin; for each pair of sub-blocks: 16 u8 scales and 16 u8 mins of the
//         first, the same of the second, 8 planes
//   q5_k  as q4_k, each plane of the first pair followed by one of fifth bits (of all pairs)
//   q6_k  16 f16 d and 32 unused bytes; for each half: 8 x 16 i8 scales, 8 planes of nibbles, each
//         followed by one of bit pairs, 8 more planes of nibbles
// What a kernel touches first lies in the order in which it does: a q6_k panel streams at 20 GB/s
// instead of 16 that way.
//   f32, f16, bf16  16 elements
// Rows are padded to 16 with zeros. No type grows by more than 3 %.
#pragma once

#include "compute/device.hpp"
#include "cpu/memory.hpp"

namespace coel::cpu {

inline constexpr uint32_t panel_rows = 16;
inline constexpr uint32_t plane_bytes = 64;
inline constexpr uint32_t block_cols = 32; ///< columns that share one scale of the input

/// Bytes of the parts of a unit.
inline constexpr uint32_t half_row_bytes = 2 * panel_rows;
inline constexpr uint32_t q8_0_unit = 8 * plane_bytes + half_row_bytes;
inline constexpr uint32_t q4_0_unit = 4 * plane_bytes + half_row_bytes;
inline constexpr uint32_t k_head = 2 * half_row_bytes;
inline constexpr uint32_t k_pair = 4 * panel_rows + 8 * plane_bytes;
inline constexpr uint32_t k_fifths = 8 * plane_bytes; // in the first pair of q5_k
inline constexpr uint32_t q4_k_unit = k_head + 4 * k_pair;
inline constexpr uint32_t q5_k_unit = k_head + k_fifths + 4 * k_pair;
inline constexpr uint32_t q6_k_scales = 8 * panel_rows;
inline constexpr uint32_t q6_k_half = q6_k_scales + 24 * plane_bytes;
inline constexpr uint32_t q6_k_unit = plane_bytes + 2 * q6_k_half;

struct panel_unit {
  uint32_t cols;
  uint32_t bytes;
};
panel_unit unit_of(dtype type);

/// Of such a matrix in this layout.
uint64_t packed_bytes(const compute::matrix_view& of);
void pack(const compute::matrix_view& from, std::byte* to);

class packed_weight : public compute::weight {
 public:
  /// Errors: out_of_memory.
  static result<std::shared_ptr<const packed_weight>> make(const compute::matrix_view& from,
                                                           const budget_ptr& memory);
  /// Of bytes that packed_bytes(of) were written to by pack(), for as long as `owner` keeps them.
  static std::shared_ptr<const packed_weight> over(const compute::matrix_view& of,
                                                   const std::byte* at,
                                                   std::shared_ptr<const void> owner);

  dtype type() const override { return type_; }
  uint32_t rows() const override { return rows_; }
  uint32_t cols() const override { return cols_; }
  size_t resident_bytes() const override { return panels() * panel_bytes_; }

  uint32_t panels() const { return (rows_ + panel_rows - 1) / panel_rows; }
  uint64_t panel_bytes() const { return panel_bytes_; }
  const std::byte* panel(uint32_t i) const { return at_ + i * panel_bytes_; }

 private:
  const std::byte* at_ = nullptr;
  std::shared_ptr<const void> owner_;
  uint64_t panel_bytes_ = 0;
  uint32_t rows_ = 0;
  uint32_t cols_ = 0;
  dtype type_ = dtype::f32;
};

} // namespace coel::cpu
