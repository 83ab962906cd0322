// Matrix products with weights in f32, f16 or bf16. A warp has one row of the weight and up to
// eight input rows: lanes take its vectors of 16 bytes in turn, each element is one fused
// multiply-add in order, and the lanes' sums are joined in a fixed tree. So an output does not
// depend on how many rows are beside it.
#pragma once

#include "gpu/args.hpp"
#include "gpu/simt.hpp"

namespace coel::gpu {

inline constexpr uint32_t float_rows = 8; ///< of the weight; warps of a block
inline constexpr uint32_t float_threads = float_rows * simt::warp_lanes;

struct f32_element {
  static constexpr uint32_t bytes = 4;
  COEL_DEVICE static float value(const simt::words4& v, uint32_t i) {
    return simt::as_float(i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w);
  }
};

COEL_DEVICE uint16_t short_of(const simt::words4& v, uint32_t i) {
  uint32_t word = i / 2 == 0 ? v.x : i / 2 == 1 ? v.y : i / 2 == 2 ? v.z : v.w;
  return static_cast<uint16_t>(word >> (16 * (i % 2)));
}
struct f16_element {
  static constexpr uint32_t bytes = 2;
  COEL_DEVICE static float value(const simt::words4& v, uint32_t i) {
    return simt::half_to_float(short_of(v, i));
  }
};
struct bf16_element {
  static constexpr uint32_t bytes = 2;
  COEL_DEVICE static float value(const simt::words4& v, uint32_t i) {
    return simt::bf16_to_float(short_of(v, i));
  }
};

/// Four values of an input row from column c, zeros beyond its end. `whole`: rows start at
/// multiples of 16 bytes.
COEL_DEVICE simt::words4 input_values(const float* row, uint32_t c, uint32_t cols, bool whole) {
  if (whole && c + 4 <= cols)
    return simt::load4(row + c);
  auto at = [&](uint32_t i) { return c + i < cols ? simt::as_bits(row[c + i]) : 0u; };
  return {at(0), at(1), at(2), at(3)};
}

template <class Element, int Tile>
COEL_DEVICE void add_vector(float (&acc)[Tile], const simt::words4& w,
                            const float* const (&x)[Tile], uint32_t c, uint32_t cols) {
  bool whole = cols % 4 == 0;
  COEL_UNROLL
  for (uint32_t half = 0; half < 4 / Element::bytes; ++half) {
    COEL_UNROLL
    for (int n = 0; n < Tile; ++n) {
      simt::words4 v = input_values(x[n], c + 4 * half, cols, whole);
      COEL_UNROLL
      for (uint32_t i = 0; i < 4; ++i)
        acc[n] = simt::fma(Element::value(w, 4 * half + i), f32_element::value(v, i), acc[n]);
    }
  }
}

/// Block (x, y): rows [8 x, 8 x + 8) of the weight of task y, which has at most `Tile` input rows.
/// The weight's rows are padded with zeros to 16 bytes.
template <class Element, int Tile>
COEL_DEVICE void multiply_floats(const matrix_args& args) {
  const matrix_task& task = args.tasks[simt::block_y()];
  uint32_t row = simt::block_x() * float_rows + simt::warp();
  if (row >= task.rows || task.count == 0)
    return;
  const float* x[Tile];
  float acc[Tile] = {};
  COEL_UNROLL
  for (uint32_t n = 0; n < Tile; ++n) {
    uint32_t within = n < task.count ? n : task.count - 1;
    x[n] = task.x + uint64_t{task.x_rows ? task.x_rows[within] : task.first_x + within} * task.cols;
  }
  constexpr uint32_t step = 16 / Element::bytes;
  const std::byte* weight = task.weight + row * task.row_bytes;
  for (uint32_t c = simt::lane() * step; c < task.cols; c += simt::warp_lanes * step)
    add_vector<Element>(acc, simt::load4(weight + uint64_t{c} * Element::bytes), x, c, task.cols);
  COEL_UNROLL
  for (uint32_t n = 0; n < Tile; ++n) {
    float y = simt::sum_of_warp(acc[n]);
    if (simt::lane() == 0 && n < task.count) {
      float* to = task.out + uint64_t{n} * task.out_cols + row;
      if (task.bias)
        y += task.bias[row];
      *to = task.add ? *to + y : y;
    }
  }
}

} // namespace coel::gpu
