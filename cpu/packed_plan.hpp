// What the operations over packed weights share: quantised input rows, tiles of rows and panels.
#pragma once

#include "cpu/packed.hpp"
#include "cpu/planner.hpp"
#include "cpu/vector_kernels.hpp"

namespace coel::cpu {

inline const packed_weight& packed(const compute::weight& w) {
  return static_cast<const packed_weight&>(w);
}

/// Panels of one tile: some tiles for every worker, so that one that lost its core holds up little.
inline size_t panel_chunk(size_t panels, uint32_t threads) {
  return threads == 1 ? panels : std::max<size_t>(1, panels / (size_t{threads} * 12));
}

/// Row r of quantised rows in scratch memory (valid only where the rows were quantised).
inline act_row input_row(std::byte* memory, const compute::rows_f32& in, uint32_t r) {
  return act_at(memory + r * act_bytes(in.cols), in.row(r), in.cols);
}

/// Adds the phase that quantises every row; returns where in scratch they lie.
inline size_t plan_quantise(planner& out, const vector_kernels& k, const compute::rows_f32& in) {
  size_t at = out.scratch(in.rows * act_bytes(in.cols));
  out.add_chunks(in.rows, 4, [&k, in, at](const tile_context& c, size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      k.quantise(in.row(static_cast<uint32_t>(r)), in.cols, c.scratch + at + r * act_bytes(in.cols));
  });
  return at;
}

/// Calls work(first, rows) for tiles of at most max_tile_rows rows.
template <class Work>
void over_row_tiles(size_t rows, Work work) {
  for (size_t first = 0; first < rows; first += max_tile_rows)
    work(static_cast<uint32_t>(first),
         static_cast<uint32_t>(std::min<size_t>(max_tile_rows, rows - first)));
}

} // namespace coel::cpu
