// run_experts over packed weights. All experts of a group share the phases: with eight experts a
// layer that is four meetings of the workers instead of thirty-two.
#include "cpu/expert_plan.hpp"
#include "cpu/packed_plan.hpp"
#include "cpu/packed_set.hpp"

namespace coel::cpu {

namespace {

struct plan_of_experts {
  const compute::run_experts& op;
  const vector_kernels& k;
  std::vector<expert_slot> slots;
  std::vector<size_t> first_panel;   // of gate and up, by slot
  size_t in_at = 0;                  // quantised inputs
  size_t hidden_at = 0;              // float [rows of all slots][ff]
  size_t quantised_at = 0;           // the same rows, quantised; by slot below
  std::vector<size_t> quantised;     // bytes before the slot

  compute::rows_f32 hidden(std::byte* scratch, const expert_slot& s) const {
    auto* values = reinterpret_cast<float*>(scratch + hidden_at) + s.first_value;
    return {values, static_cast<uint32_t>(s.task->rows.size()), s.ff};
  }

  void run_panel(const compute::weight& w, uint32_t panel, const act_row* x, uint32_t rows,
                 float (*y)[16]) const {
    k.panel[static_cast<size_t>(w.type())](packed(w).panel(panel), w.cols(), x, rows, y);
  }

  /// silu(gate x) * (up x) for the 16 hidden columns of a panel.
  void gate_up(std::byte* scratch, const expert_slot& s, uint32_t panel) const {
    const auto& e = *s.task->expert;
    auto out = hidden(scratch, s);
    uint32_t column = panel * panel_rows, count = std::min(panel_rows, s.ff - column);
    over_row_tiles(s.task->rows.size(), [&](uint32_t first, uint32_t rows) {
      act_row x[max_tile_rows];
      float gate[max_tile_rows][16], up[max_tile_rows][16];
      for (uint32_t r = 0; r < rows; ++r)
        x[r] = input_row(scratch + in_at, op.in, s.task->rows[first + r]);
      run_panel(*e.gate, panel, x, rows, gate);
      run_panel(*e.up, panel, x, rows, up);
      for (uint32_t r = 0; r < rows; ++r) {
        k.swiglu(gate[r], up[r], panel_rows);
        std::copy_n(gate[r], count, out.row(first + r) + column);
      }
    });
  }

  /// Adds the weighted outputs of one task to 16 columns of `out`.
  void down(std::byte* scratch, size_t slot, uint32_t panel) const {
    const auto& s = slots[slot];
    auto in = hidden(scratch, s);
    uint32_t column = panel * panel_rows, count = std::min(panel_rows, op.out.cols - column);
    over_row_tiles(s.task->rows.size(), [&](uint32_t first, uint32_t rows) {
      act_row x[max_tile_rows];
      float y[max_tile_rows][16];
      for (uint32_t r = 0; r < rows; ++r)
        x[r] = input_row(scratch + quantised_at + quantised[slot], in, first + r);
      run_panel(*s.task->expert->down, panel, x, rows, y);
      for (uint32_t r = 0; r < rows; ++r) {
        float factor = expert_factor(*s.task, first + r);
        float* to = op.out.row(s.task->rows[first + r]) + column;
        for (uint32_t c = 0; c < count; ++c)
          to[c] += factor * y[r][c];
      }
    });
  }
};

bool any_quantised(const std::vector<expert_slot>& slots,
                   std::initializer_list<std::shared_ptr<const compute::weight> compute::expert_weights::*> parts) {
  for (const auto& s : slots)
    for (auto part : parts)
      if (is_quantised(((*s.task->expert).*part)->type()))
        return true;
  return false;
}

} // namespace

void packed_set::plan(planner& out, const compute::run_experts& op) const {
  auto p = std::make_shared<plan_of_experts>(plan_of_experts{op, kernels_, expert_slots(op), {}, 0, 0, 0, {}});
  if (p->slots.empty())
    return;
  size_t panels = 0, bytes = 0, rows_total = 0;
  for (const auto& s : p->slots) {
    p->first_panel.push_back(panels);
    p->quantised.push_back(bytes);
    panels += (s.ff + panel_rows - 1) / panel_rows;
    bytes += s.task->rows.size() * act_bytes(s.ff);
    rows_total += s.task->rows.size();
  }
  if (any_quantised(p->slots, {&compute::expert_weights::gate, &compute::expert_weights::up}))
    p->in_at = plan_quantise(out, kernels_, op.in);
  const auto& last = p->slots.back();
  p->hidden_at = out.scratch((last.first_value + last.task->rows.size() * last.ff) * sizeof(float));
  out.add_chunks(panels, panel_chunk(panels, out.threads()),
                 [p](const tile_context& c, size_t begin, size_t end) {
                   auto next = std::upper_bound(p->first_panel.begin(), p->first_panel.end(), begin);
                   auto slot = static_cast<size_t>(next - p->first_panel.begin()) - 1;
                   for (size_t i = begin; i < end; ++i) {
                     while (slot + 1 < p->slots.size() && i >= p->first_panel[slot + 1])
                       ++slot;
                     p->gate_up(c.scratch, p->slots[slot], static_cast<uint32_t>(i - p->first_panel[slot]));
                   }
                 });
  if (any_quantised(p->slots, {&compute::expert_weights::down})) {
    p->quantised_at = out.scratch(bytes);
    out.add_chunks(rows_total, 4, [p](const tile_context& c, size_t begin, size_t end) {
      size_t slot = 0;
      for (size_t i = begin; i < end; ++i) {
        while (slot + 1 < p->slots.size() && i >= p->slots[slot + 1].first_row)
          ++slot;
        const auto& s = p->slots[slot];
        size_t row = i - s.first_row;
        p->k.quantise(p->hidden(c.scratch, s).row(static_cast<uint32_t>(row)), s.ff,
                      c.scratch + p->quantised_at + p->quantised[slot] + row * act_bytes(s.ff));
      }
    });
  }
  size_t down_panels = (op.out.cols + panel_rows - 1) / panel_rows;
  out.add_chunks(down_panels, panel_chunk(down_panels, out.threads()),
                 [p](const tile_context& c, size_t begin, size_t end) {
                   for (size_t slot = 0; slot < p->slots.size(); ++slot)   // the tasks' order, whoever runs
                     for (size_t i = begin; i < end; ++i)
                       p->down(c.scratch, slot, static_cast<uint32_t>(i));
                 });
}

} // namespace coel::cpu
