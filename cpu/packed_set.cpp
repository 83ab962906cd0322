// Projections over packed weights; experts and attention have files of their own.
#include "cpu/packed_set.hpp"

#include "cpu/packed_plan.hpp"

namespace coel::cpu {

namespace {

/// A panel's results for up to max_tile_rows rows go to their places.
void store(const compute::projection& p, uint32_t first_row, uint32_t rows, uint32_t panel,
           const float (*y)[16]) {
  uint32_t column = panel * panel_rows, count = std::min(panel_rows, p.out.cols - column);
  for (uint32_t r = 0; r < rows; ++r) {
    float* to = p.out.row(first_row + r) + column;
    for (uint32_t c = 0; c < count; ++c) {
      float value = y[r][c] + (p.bias ? p.bias[column + c] : 0.f);
      to[c] = p.add ? to[c] + value : value;
    }
  }
}

/// Panels of all outputs as one range, so that small ones share a phase.
struct panel_range {
  const compute::projection* output;
  uint32_t first;   // panels of the outputs before it
};

} // namespace

result<compute::weight_ptr> packed_set::load(const compute::matrix_view& matrix,
                                             const budget_ptr& from) const {
  return pack(matrix, from);
}

bool packed_set::owns(const compute::weight& w) const {
  return dynamic_cast<const packed_weight*>(&w) != nullptr;
}

void packed_set::plan(planner& out, const compute::project& op) const {
  bool quantised = false;
  std::vector<panel_range> ranges;
  uint32_t total = 0;
  for (const auto& p : op.outputs) {
    quantised |= is_quantised(p.w->type());
    ranges.push_back({&p, total});
    total += packed(*p.w).panels();
  }
  size_t at = quantised ? plan_quantise(out, kernels_, op.in) : 0;
  out.add_chunks(total, panel_chunk(total, out.threads()),
                 [&op, &k = kernels_, ranges, at](const tile_context& c, size_t begin, size_t end) {
                   size_t which = 0;
                   for (size_t i = begin; i < end; ++i) {
                     while (which + 1 < ranges.size() && i >= ranges[which + 1].first)
                       ++which;
                     const auto& p = *ranges[which].output;
                     auto panel = static_cast<uint32_t>(i - ranges[which].first);
                     over_row_tiles(op.in.rows, [&](uint32_t first, uint32_t rows) {
                       act_row x[max_tile_rows];
                       float y[max_tile_rows][16];
                       for (uint32_t r = 0; r < rows; ++r)
                         x[r] = input_row(c.scratch + at, op.in, first + r);
                       k.panel[static_cast<size_t>(p.w->type())](packed(*p.w).panel(panel), op.in.cols, x,
                                                                 rows, y);
                       store(p, first, rows, panel, y);
                     });
                   }
                 });
}

} // namespace coel::cpu
