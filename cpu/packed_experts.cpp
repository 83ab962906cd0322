// run_experts over packed weights. All experts of a group share the phases, and a tile of the first
// one quantises what it has computed: three meetings of the workers, however many experts.
#include "cpu/expert_plan.hpp"
#include "cpu/packed_plan.hpp"
#include "cpu/packed_set.hpp"

namespace coel::cpu {

namespace {

/// Columns of one step of gate and up: two panels, as many as one block of the quantised result.
constexpr uint32_t step_cols = 2 * panel_rows;
static_assert(step_cols == block_cols);

/// Steps [first, first + count) of one slot.
struct hidden_tile {
  const expert_slot* slot;
  uint32_t first;
  uint32_t count;
};

struct expert_run {
  const compute::run_experts& op;
  const vector_kernels& k;
  std::vector<expert_slot> slots;
  std::vector<hidden_tile> tiles;
  quantised_rows in;
  size_t hidden_at = 0; // [rows of the slots][ff], as `down` takes it

  static bool quantised(const expert_slot& s) { return is_quantised(s.task->expert->down->type()); }

  /// The slot's row i. An input block takes 64 bytes for 32 values: never more than floats would.
  input_row hidden(std::byte* scratch, const expert_slot& s, uint32_t i) const {
    float* values =
        reinterpret_cast<float*>(scratch + hidden_at) + s.first_value + size_t{i} * s.ff;
    input_row x;
    if (quantised(s))
      x.blocks = reinterpret_cast<const input_block*>(values);
    else
      x.values = values;
    return x;
  }

  void fill_hidden(std::byte* scratch, const hidden_tile& tile) const;
  void hidden_step(std::byte* scratch, const expert_slot& s, uint32_t step, uint32_t first,
                   uint32_t rows) const;
  void add_outputs(std::byte* scratch, const expert_slot& s, uint32_t begin, uint32_t end) const;
};

/// silu(gate x) * (up x) in the columns of a step, for up to most_tile_rows rows.
void expert_run::hidden_step(std::byte* scratch, const expert_slot& s, uint32_t step,
                             uint32_t first, uint32_t rows) const {
  const auto& e = *s.task->expert;
  input_row x[most_tile_rows];
  input_row x_up[most_tile_rows];
  for (uint32_t r = 0; r < rows; ++r) {
    x[r] = in.row_for(e.gate->type(), scratch, s.task->rows[first + r]);
    x_up[r] = in.row_for(e.up->type(), scratch, s.task->rows[first + r]);
  }
  float both[most_tile_rows][step_cols];
  uint32_t count = std::min(step_cols, s.ff - step * step_cols);
  for (uint32_t part = 0; part * panel_rows < count; ++part) {
    float gate[most_tile_rows][panel_rows];
    float up[most_tile_rows][panel_rows];
    run_panel(k, *e.gate, 2 * step + part, x, rows, gate);
    run_panel(k, *e.up, 2 * step + part, x_up, rows, up);
    k.swiglu(gate[0], up[0], rows * panel_rows);
    for (uint32_t r = 0; r < rows; ++r)
      std::copy_n(gate[r], panel_rows, both[r] + part * panel_rows);
  }
  for (uint32_t r = 0; r < rows; ++r) {
    input_row to = hidden(scratch, s, first + r);
    if (quantised(s))
      k.quantise(both[r], 1, const_cast<input_block*>(to.blocks) + step);
    else
      std::copy_n(both[r], count, const_cast<float*>(to.values) + step * step_cols);
  }
}

void expert_run::fill_hidden(std::byte* scratch, const hidden_tile& tile) const {
  over_row_tiles(tile.slot->task->rows.size(), [&](uint32_t first, uint32_t rows) {
    for (uint32_t step = tile.first; step < tile.first + tile.count; ++step)
      hidden_step(scratch, *tile.slot, step, first, rows);
  });
}

/// Adds the slot's weighted outputs to the columns of panels [begin, end).
void expert_run::add_outputs(std::byte* scratch, const expert_slot& s, uint32_t begin,
                             uint32_t end) const {
  over_row_tiles(s.task->rows.size(), [&](uint32_t first, uint32_t rows) {
    input_row x[most_tile_rows];
    float y[most_tile_rows][panel_rows];
    for (uint32_t r = 0; r < rows; ++r)
      x[r] = hidden(scratch, s, first + r);
    for (uint32_t panel = begin; panel < end; ++panel) {
      run_panel(k, *s.task->expert->down, panel, x, rows, y);
      uint32_t column = panel * panel_rows;
      uint32_t count = std::min(panel_rows, op.out.cols - column);
      for (uint32_t r = 0; r < rows; ++r) {
        float factor = expert_factor(*s.task, first + r);
        float* to = op.out.row(s.task->rows[first + r]) + column;
        for (uint32_t c = 0; c < count; ++c)
          to[c] += factor * y[r][c];
      }
    }
  });
}

std::vector<hidden_tile> hidden_tiles(const std::vector<expert_slot>& slots, uint32_t threads) {
  auto steps = [](const expert_slot& s) { return (s.ff + step_cols - 1) / step_cols; };
  size_t total = 0;
  for (const auto& s : slots)
    total += steps(s);
  std::vector<hidden_tile> tiles;
  for (const auto& s : slots) {
    size_t bytes = 2 * (packed(*s.task->expert->gate).panel_bytes() +
                        packed(*s.task->expert->up).panel_bytes());
    auto count = static_cast<uint32_t>(panels_per_tile(total, bytes, threads));
    for (uint32_t first = 0; first < steps(s); first += count)
      tiles.push_back({&s, first, std::min(count, steps(s) - first)});
  }
  return tiles;
}

bool takes_blocks(const expert_slot& s) {
  return is_quantised(s.task->expert->gate->type()) || is_quantised(s.task->expert->up->type());
}

} // namespace

void packed_set::plan(planner& out, const compute::run_experts& op) const {
  auto run = std::make_shared<expert_run>(expert_run{op, kernels_, expert_slots(op), {}, {}, 0});
  if (run->slots.empty())
    return;
  run->in = plan_quantise(out, kernels_, op.in,
                          std::any_of(run->slots.begin(), run->slots.end(), takes_blocks));
  const auto& last = run->slots.back();
  run->hidden_at =
      out.scratch((last.first_value + last.task->rows.size() * last.ff) * sizeof(float));
  run->tiles = hidden_tiles(run->slots, out.threads());
  out.add(run->tiles.size(), [run](const tile_context& c, uint32_t tile) {
    run->fill_hidden(c.scratch, run->tiles[tile]);
  });
  size_t panels = (op.out.cols + panel_rows - 1) / panel_rows;
  size_t bytes = 0;
  for (const auto& s : run->slots)
    bytes += packed(*s.task->expert->down).panel_bytes();
  bytes /= 4; // a tile takes a stretch of every expert: longer ones, or none would stream
  out.add_chunks(panels, panels_per_tile(panels, bytes, out.threads()),
                 [run](const tile_context& c, size_t begin, size_t end) {
                   for (const auto& s : run->slots) // in the tasks' order, whoever runs
                     run->add_outputs(c.scratch, s, static_cast<uint32_t>(begin),
                                      static_cast<uint32_t>(end));
                 });
}

} // namespace coel::cpu
