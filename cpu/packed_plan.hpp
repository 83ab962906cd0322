// What the operations over packed weights share: quantised input rows, tiles of rows and panels.
#pragma once

#include "cpu/packed.hpp"
#include "cpu/planner.hpp"
#include "cpu/vector_kernels.hpp"

namespace coel::cpu {

inline const packed_weight& packed(const compute::weight& w) {
  return static_cast<const packed_weight&>(w);
}

inline size_t blocks_of(uint32_t cols) {
  return cols / block_cols;
}

/// Weight bytes of one tile. Small enough that the last tile of a phase keeps the others waiting
/// for few microseconds, large enough to stream, and a part of a second-level cache when many rows
/// use it.
inline constexpr size_t tile_bytes = 128 << 10;

/// Panels of one tile: about tile_bytes, but some tiles for every worker.
inline size_t panels_per_tile(size_t panels, size_t panel_bytes, uint32_t threads) {
  size_t by_bytes = tile_bytes / std::max<size_t>(panel_bytes, 1);
  size_t by_workers = panels / (size_t{threads} * 8);
  return std::max<size_t>(1, threads == 1 ? by_bytes : std::min(by_bytes, by_workers));
}

/// Calls work(first, rows) for tiles of at most most_tile_rows rows.
template <class Work>
void over_row_tiles(size_t rows, Work work) {
  for (size_t first = 0; first < rows; first += most_tile_rows)
    work(static_cast<uint32_t>(first),
         static_cast<uint32_t>(std::min<size_t>(most_tile_rows, rows - first)));
}

/// Rows of an operation's input, quantised in scratch memory.
struct quantised_rows {
  compute::rows_f32 in;
  size_t at = 0; ///< offset in scratch

  input_block* row(std::byte* scratch, uint32_t r) const {
    return reinterpret_cast<input_block*>(scratch + at) + r * blocks_of(in.cols);
  }
  /// The row as a weight of that type takes it.
  input_row row_for(dtype type, std::byte* scratch, uint32_t r) const {
    input_row x;
    if (is_quantised(type))
      x.blocks = row(scratch, r);
    else
      x.values = in.row(r);
    return x;
  }
};

/// Adds the phase that quantises every row, if `wanted`.
inline quantised_rows plan_quantise(planner& out, const vector_kernels& k,
                                    const compute::rows_f32& in, bool wanted) {
  quantised_rows q{in, 0};
  if (!wanted)
    return q;
  q.at = out.scratch(in.rows * blocks_of(in.cols) * sizeof(input_block));
  out.add_chunks(in.rows, 4, [&k, q](const tile_context& c, size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      k.quantise(q.in.row(static_cast<uint32_t>(r)), static_cast<uint32_t>(blocks_of(q.in.cols)),
                 q.row(c.scratch, static_cast<uint32_t>(r)));
  });
  return q;
}

/// Asks for the beginning of a stream, which the processor's own prefetch would find cold.
inline void prefetch_panel(const std::byte* at) {
  for (size_t line = 0; line < 16; ++line)
    __builtin_prefetch(at + line * 64);
}

inline void run_panel(const vector_kernels& k, const compute::weight& w, uint32_t panel,
                      const input_row* x, uint32_t rows, float (*y)[panel_rows]) {
  k.panel[static_cast<size_t>(w.type())](packed(w).panel(panel), w.cols(), x, rows, y);
}

} // namespace coel::cpu
