// Weights in the layout that the vector kernels stream: panels of 16 rows, so that one vector
// register holds 16 rows of four consecutive columns and a dot product needs no horizontal sums.
//
// A panel is a run of 32-column blocks (float types: of single columns). With r the row in the panel
// and c the column in the block, a block holds
//   q4_0  16 x f16 scale; 4 x 64 bytes: byte 4r+i of run j = column 8j+i low, 8j+4+i high nibble
//   q8_0  16 x f16 scale; 8 x 64 bytes: byte 4r+i of run j = column 4j+i, plus 128
//   q4_k  16 x u8 scale, 16 x u8 min; nibbles as q4_0      (each 8 blocks: 16 x f16 d, 16 x f16 dmin)
//   q5_k  as q4_k, then 64 bytes of fifth bits: bit j of byte 4r+i = column 4j+i
//   q6_k  2 x 16 x i8 scale (columns 0-15, 16-31); nibbles as q4_0; 2 x 64 bytes of high bits:
//         bits 2j, 2j+1 of byte 4r+i of half h = column 16h+4j+i            (each 8 blocks: 16 x f16 d)
//   f16, bf16, f32: 16 elements per column
// Rows are padded to 16 with zeros. No type grows by more than 3 %.
#pragma once

#include "compute/device.hpp"
#include "cpu/memory.hpp"

namespace coel::cpu {

inline constexpr uint32_t panel_rows = 16;
inline constexpr uint32_t block_cols = 32;

struct panel_geometry {
  uint32_t unit_cols = 0;      ///< columns of one unit: a block, a super-block of 256, or one column
  uint32_t unit_bytes = 0;     ///< bytes of 16 rows of it
};
panel_geometry geometry(dtype type);

inline uint64_t panel_bytes(dtype type, uint32_t cols) {
  auto g = geometry(type);
  return uint64_t{cols} / g.unit_cols * g.unit_bytes;
}

/// Writes panel `index` (rows [16 index, 16 index + 16)) of the matrix.
void pack_panel(const compute::matrix_view& from, uint64_t index, std::byte* to);

class packed_weight : public compute::weight {
 public:
  packed_weight(dtype type, uint32_t rows, uint32_t cols, block memory)
      : memory_(std::move(memory)), panel_bytes_(panel_bytes(type, cols)), rows_(rows), cols_(cols),
        type_(type) {}

  dtype type() const override { return type_; }
  uint32_t rows() const override { return rows_; }
  uint32_t cols() const override { return cols_; }
  size_t resident_bytes() const override { return memory_.size(); }

  uint32_t panels() const { return (rows_ + panel_rows - 1) / panel_rows; }
  const std::byte* panel(uint32_t i) const { return memory_.data() + i * panel_bytes_; }

 private:
  block memory_;
  uint64_t panel_bytes_;
  uint32_t rows_;
  uint32_t cols_;
  dtype type_;
};

/// Packs a whole matrix. Errors: out_of_memory.
result<compute::weight_ptr> pack(const compute::matrix_view& from, const budget_ptr& memory);

} // namespace coel::cpu
