// Projections over packed weights; experts and attention have files of their own.
#include "cpu/packed_set.hpp"

#include "cpu/packed_plan.hpp"

namespace coel::cpu {

namespace {

/// A panel's results for up to most_tile_rows rows go to their places.
void store(const compute::projection& p, uint32_t first_row, uint32_t rows, uint32_t panel,
           const float (*y)[panel_rows]) {
  uint32_t column = panel * panel_rows;
  uint32_t count = std::min(panel_rows, p.end_column() - column);
  for (uint32_t r = 0; r < rows; ++r) {
    float* to = p.out.row(first_row + r) + column;
    for (uint32_t c = 0; c < count; ++c) {
      float value = y[r][c] + (p.bias ? p.bias[column + c] : 0.f);
      to[c] = p.add ? to[c] + value : value;
    }
  }
}

/// Panels [first, first + count) of one output.
struct panel_tile {
  const compute::projection* output;
  uint32_t first;
  uint32_t count;
};

void run_tile(const vector_kernels& k, const quantised_rows& in, const panel_tile& tile,
              std::byte* scratch) {
  const auto& p = *tile.output;
  over_row_tiles(in.in.rows, [&](uint32_t first, uint32_t rows) {
    input_row x[most_tile_rows];
    float y[most_tile_rows][panel_rows];
    for (uint32_t r = 0; r < rows; ++r)
      x[r] = in.row_for(p.w->type(), scratch, first + r);
    for (uint32_t panel = tile.first; panel < tile.first + tile.count; ++panel) {
      run_panel(k, *p.w, panel, x, rows, y);
      store(p, first, rows, panel, y);
    }
  });
}

/// Tiles of all outputs, so that they share one phase.
std::vector<panel_tile> panel_tiles(const compute::project& op, uint32_t threads) {
  static_assert(compute::projection_unit % panel_rows == 0);
  auto panels_end = [](const auto& p) { return (p.end_column() + panel_rows - 1) / panel_rows; };
  size_t total = 0;
  for (const auto& p : op.outputs)
    total += panels_end(p) - p.first / panel_rows;
  std::vector<panel_tile> tiles;
  for (const auto& p : op.outputs) {
    const auto& w = packed(*p.w);
    auto step = static_cast<uint32_t>(panels_per_tile(total, w.panel_bytes(), threads));
    uint32_t end = panels_end(p);
    for (uint32_t first = p.first / panel_rows; first < end; first += step)
      tiles.push_back({&p, first, std::min(step, end - first)});
  }
  return tiles;
}

} // namespace

result<compute::weight_ptr> packed_set::load(const compute::matrix_view& matrix,
                                             const budget_ptr& from) const {
  auto made = packed_weight::make(matrix, from);
  if (!made.ok())
    return made.err();
  return compute::weight_ptr(*made);
}

bool packed_set::owns(const compute::weight& w) const {
  return dynamic_cast<const packed_weight*>(&w) != nullptr;
}

void packed_set::plan(planner& out, const compute::project& op) const {
  if (op.in.rows == 0)
    return;
  bool quantised = std::any_of(op.outputs.begin(), op.outputs.end(),
                               [](const auto& p) { return is_quantised(p.w->type()); });
  auto in = plan_quantise(out, kernels_, op.in, quantised);
  auto tiles = panel_tiles(op, out.threads());
  out.add(tiles.size(), [&k = kernels_, in, tiles](const tile_context& c, uint32_t tile) {
    run_tile(k, in, tiles[tile], c.scratch);
  });
}

} // namespace coel::cpu
