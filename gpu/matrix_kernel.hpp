// Matrix products over quantised panels on the integer tensor cores, for one row as for many.
//
// The arithmetic of an output is the same whatever tile it is part of: eight slices of its columns
// (pieces s, s + 8, ... of a load each), each summed block by block in order, then joined in a
// fixed tree. The eight warps of a block take a slice each. So a row's result does not depend on
// its company, bit for bit, decoding and prefill use one kernel, and a matrix with few rows still
// fills many warps.
#pragma once

#include "gpu/args.hpp"
#include "gpu/units.hpp"

namespace coel::gpu {

inline constexpr uint32_t slices = 8; ///< of the columns; warps of a block
inline constexpr uint32_t matrix_threads = slices * simt::warp_lanes;

/// 1.5 * 2^23: an integer below 2^22 in magnitude, added to these bits, is that float plus 1.5 *
/// 2^23; cheaper than the conversion. A block's product is at most 32 * 127 * 128 < 2^19.
inline constexpr int32_t float_magic_bits = 0x4b400000;
inline constexpr float float_magic = 12582912.f;

/// Sums of a warp: panels x tiles of 8 input rows, in the layout of multiply_32.
template <int Panels, int Tiles>
struct warp_sums {
  float at[Panels][Tiles][4];
};

/// Column distance that keeps a warp's stores apart in the banks of shared memory.
template <int Panels>
inline constexpr uint32_t joined_stride = Panels* panel_rows + 4;

/// One tile of 8 input rows of every slice.
template <int Panels>
struct matrix_memory {
  float part[slices][8 * joined_stride<Panels>];
};

COEL_DEVICE uint32_t input_row(const matrix_task& task, uint32_t i) {
  uint32_t within = i < task.count ? i : task.count - 1; // beyond: computed and dropped
  return task.x_rows ? task.x_rows[within] : task.first_x + within;
}

/// acc += (float(c) - magic) * scale, for the four products of a lane.
COEL_DEVICE void add_scaled(float (&acc)[4], const int32_t (&c)[4], row_pair w, float x0,
                            float x1) {
  auto value = [&](int i) { return simt::as_float(static_cast<uint32_t>(c[i])) - float_magic; };
  acc[0] = simt::fma(value(0), w.low * x0, acc[0]);
  acc[1] = simt::fma(value(1), w.low * x1, acc[1]);
  acc[2] = simt::fma(value(2), w.high * x0, acc[2]);
  acc[3] = simt::fma(value(3), w.high * x1, acc[3]);
}

COEL_DEVICE void start_magic(int32_t (&c)[4]) {
  COEL_UNROLL
  for (int i = 0; i < 4; ++i)
    c[i] = float_magic_bits;
}

/// Block j of a piece with one tile of input rows; `at`: the same block of the lane's two.
template <class Unit>
COEL_DEVICE void add_block(float (&acc)[4], const Unit& w, uint32_t j, const uint32_t (&a)[4],
                           words2 b, const int8_rows& x, const uint32_t (&at)[2]) {
  float x0 = x.scale[at[0]];
  float x1 = x.scale[at[1]];
  int32_t c[4];
  start_magic(c);
  if constexpr (Unit::type == dtype::q6_k) {
    simt::multiply_16(c, a[0], a[1], b.x);
    add_scaled(acc, c, w.scale(j, 0), x0, x1);
    start_magic(c);
    simt::multiply_16(c, a[2], a[3], b.y);
    add_scaled(acc, c, w.scale(j, 1), x0, x1);
  } else {
    simt::multiply_32(c, a, b);
    add_scaled(acc, c, w.scale(j), x0, x1);
  }
  if constexpr (Unit::type == dtype::q4_k || Unit::type == dtype::q5_k) {
    row_pair min = w.min(j);
    float s0 = x.sum[at[0]];
    float s1 = x.sum[at[1]];
    acc[0] = simt::fma(-min.low, s0, acc[0]);
    acc[1] = simt::fma(-min.low, s1, acc[1]);
    acc[2] = simt::fma(-min.high, s0, acc[2]);
    acc[3] = simt::fma(-min.high, s1, acc[3]);
  }
}

/// The lane's input rows: as operand (column lane / 4) and as columns of the sums.
template <int Tiles>
struct lane_rows {
  uint32_t operand[Tiles]; ///< in blocks of 32
  uint32_t sums[Tiles][2];

  COEL_DEVICE explicit lane_rows(const matrix_task& task) {
    uint32_t g = simt::lane() / 4;
    uint32_t t = simt::lane() % 4;
    COEL_UNROLL
    for (int n = 0; n < Tiles; ++n) {
      operand[n] = input_row(task, 8 * n + g) * task.quantised.blocks;
      sums[n][0] = input_row(task, 8 * n + 2 * t) * task.quantised.blocks;
      sums[n][1] = input_row(task, 8 * n + 2 * t + 1) * task.quantised.blocks;
    }
  }
};

/// Where piece p of a row is: its unit, its number there.
template <class Unit>
struct piece_at {
  uint32_t unit, piece;
  COEL_DEVICE explicit piece_at(uint32_t p) : unit(p / Unit::pieces), piece(p % Unit::pieces) {}
  COEL_DEVICE uint64_t offset() const { return uint64_t{unit} * unit_of(Unit::type).bytes; }
  COEL_DEVICE uint32_t block(uint32_t j) const {
    return unit * (Unit::pieces * Unit::blocks) + Unit::block_of(piece, j);
  }
};

template <class Unit, int Panels, int Tiles>
COEL_DEVICE void add_piece(warp_sums<Panels, Tiles>& acc, const Unit (&w)[Panels],
                           const int8_rows& x, const lane_rows<Tiles>& rows,
                           const piece_at<Unit>& where) {
  uint32_t t = simt::lane() % 4;
  COEL_UNROLL
  for (uint32_t j = 0; j < Unit::blocks; ++j) {
    uint32_t block = where.block(j);
    uint32_t a[Panels][4];
    COEL_UNROLL
    for (int m = 0; m < Panels; ++m)
      w[m].operands(j, a[m]);
    COEL_UNROLL
    for (int n = 0; n < Tiles; ++n) {
      words2 b = simt::load2(x.q + uint64_t{rows.operand[n] + block} * block_cols + 8 * t);
      uint32_t at[2] = {rows.sums[n][0] + block, rows.sums[n][1] + block};
      COEL_UNROLL
      for (int m = 0; m < Panels; ++m)
        add_block(acc.at[m][n], w[m], j, a[m], b, x, at);
    }
  }
}

/// Pieces that a warp has under way: with one row, loads are all that there is to hide.
constexpr uint32_t depth_of(int tiles) {
  return tiles == 1 ? 4 : tiles == 2 ? 2 : 1;
}

/// This warp's slice. Panels beyond the matrix are computed as its last and dropped.
template <class Unit, int Panels, int Tiles>
COEL_DEVICE void sum_slice(warp_sums<Panels, Tiles>& acc, const matrix_task& task,
                           uint32_t first_panel) {
  constexpr uint32_t depth = depth_of(Tiles);
  uint32_t pieces = task.cols / unit_of(Unit::type).cols * Unit::pieces;
  uint32_t last = (task.rows - 1) / panel_rows;
  lane_rows<Tiles> rows(task);
  const std::byte* panel[Panels];
  COEL_UNROLL
  for (uint32_t m = 0; m < Panels; ++m)
    panel[m] = task.weight + (first_panel + m < last ? first_panel + m : last) * task.row_bytes;
  for (uint32_t p = simt::warp(); p < pieces; p += slices * depth) {
    Unit w[depth][Panels];
    COEL_UNROLL
    for (uint32_t d = 0; d < depth; ++d) {
      piece_at<Unit> where(p + slices * d);
      COEL_UNROLL
      for (int m = 0; m < Panels; ++m)
        if (p + slices * d < pieces)
          w[d][m].load(panel[m] + where.offset(), where.piece, simt::lane());
    }
    COEL_UNROLL
    for (uint32_t d = 0; d < depth; ++d)
      if (p + slices * d < pieces)
        add_piece(acc, w[d], task.quantised, rows, piece_at<Unit>(p + slices * d));
  }
}

COEL_DEVICE void store_output(const matrix_task& task, uint32_t i, uint32_t row, float y) {
  float* to = task.out + uint64_t{i} * task.out_cols + row;
  if (task.bias)
    y += task.bias[row];
  *to = task.add ? *to + y : y;
}

/// Joins the slices of one tile of input rows and writes its outputs.
template <int Panels, int Tiles>
COEL_DEVICE void join_tile(matrix_memory<Panels>& shared, const warp_sums<Panels, Tiles>& acc,
                           int n, const matrix_task& task, uint32_t first_panel) {
  constexpr uint32_t stride = joined_stride<Panels>;
  constexpr uint32_t height = Panels * panel_rows;
  uint32_t g = simt::lane() / 4;
  uint32_t t = simt::lane() % 4;
  COEL_UNROLL
  for (int m = 0; m < Panels; ++m)
    COEL_UNROLL
  for (uint32_t i = 0; i < 4; ++i)
    shared.part[simt::warp()][(2 * t + i % 2) * stride + m * panel_rows + g + i / 2 * 8] =
        acc.at[m][n][i];
  simt::sync();
  for (uint32_t i = simt::thread(); i < 8 * height; i += matrix_threads) {
    uint32_t column = i / height;
    uint32_t row = first_panel * panel_rows + i % height;
    auto part = [&](uint32_t s) { return shared.part[s][column * stride + i % height]; };
    float y =
        ((part(0) + part(1)) + (part(2) + part(3))) + ((part(4) + part(5)) + (part(6) + part(7)));
    if (row < task.rows && 8 * n + column < task.count)
      store_output(task, 8 * n + column, row, y);
  }
  simt::sync();
}

/// Block (x, y): panels [x * Panels, ..) of task y, whose rows are at most 8 * Tiles.
template <class Unit, int Panels, int Tiles>
COEL_DEVICE void multiply_panels(const matrix_args& args) {
  COEL_SHARED(matrix_memory<Panels>, shared);
  const matrix_task& task = args.tasks[simt::block_y()];
  uint32_t first_panel = simt::block_x() * Panels;
  if (first_panel * panel_rows >= task.rows || task.count == 0)
    return;
  warp_sums<Panels, Tiles> acc = {};
  sum_slice<Unit>(acc, task, first_panel);
  COEL_UNROLL
  for (int n = 0; n < Tiles; ++n)
    if (8u * n < task.count)
      join_tile(shared, acc, n, task, first_panel);
}

} // namespace coel::gpu
