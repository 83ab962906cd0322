// A weight matrix as it lies in a file or in memory, before a device has taken it.
#pragma once

#include "common/dtype.hpp"

#include <cstddef>
#include <memory>

namespace coel::compute {

/// Read-only view of a row-major weight matrix [rows, cols]; y = x W^T uses row r for output r.
/// Rows are stride_bytes apart, so that a slice of columns (a slice of a shared expert's down
/// matrix) is a view too. `owner` keeps the bytes alive (a file mapping, a heap block).
struct matrix_view {
  dtype type = dtype::f32;
  uint64_t rows = 0;
  uint64_t cols = 0; ///< multiple of info(type).block_elements
  const std::byte* data = nullptr;
  uint64_t stride_bytes = 0; ///< >= row_bytes(type, cols)
  std::shared_ptr<const void> owner;

  const std::byte* row(uint64_t r) const { return data + r * stride_bytes; }
  /// Bytes of the elements themselves, without gaps between rows.
  uint64_t bytes() const { return rows * row_bytes(type, cols); }

  /// Rows [first, first + count).
  matrix_view row_slice(uint64_t first, uint64_t count) const {
    matrix_view v = *this;
    v.data = row(first);
    v.rows = count;
    return v;
  }
  /// Columns [first, first + count); both must be multiples of the block length.
  matrix_view col_slice(uint64_t first, uint64_t count) const {
    matrix_view v = *this;
    v.data = data + row_bytes(type, first);
    v.cols = count;
    return v;
  }
};

} // namespace coel::compute
