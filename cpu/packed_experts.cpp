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
inline constexpr uint32_t most_tile_steps = 4;
inline constexpr uint32_t tile_cols = most_tile_steps * step_cols;

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
  void store_hidden(std::byte* scratch, const hidden_tile& tile, uint32_t first, uint32_t rows,
                    const float (*values)[tile_cols]) const;
  void add_outputs(std::byte* scratch, const expert_slot& s, uint32_t begin, uint32_t end) const;
  void add_all_outputs(std::byte* scratch, uint32_t begin, uint32_t end) const;
};

/// silu(gate x) * (up x) in the tile's columns. All of gate, then all of up: a stream that breaks
/// off every panel runs at 29 instead of 34 GB/s.
void expert_run::fill_hidden(std::byte* scratch, const hidden_tile& tile) const {
  const auto& task = *tile.slot->task;
  const auto& gate = *task.expert->gate;
  const auto& up = *task.expert->up;
  uint32_t begin = tile.first * 2, end = std::min(begin + tile.count * 2, packed(gate).panels());
  over_row_tiles(task.rows.size(), [&](uint32_t first, uint32_t rows) {
    float values[most_tile_rows][tile_cols];
    float gates[tile_cols / panel_rows][most_tile_rows][panel_rows];
    float ups[most_tile_rows][panel_rows];
    input_row x[most_tile_rows];
    for (uint32_t r = 0; r < rows; ++r)
      x[r] = in.row_for(gate.type(), scratch, task.rows[first + r]);
    prefetch_panel(packed(up).panel(begin));
    for (uint32_t p = begin; p < end; ++p)
      run_panel(k, gate, p, x, rows, gates[p - begin]);
    for (uint32_t r = 0; r < rows; ++r)
      x[r] = in.row_for(up.type(), scratch, task.rows[first + r]);
    for (uint32_t p = begin; p < end; ++p) {
      auto& g = gates[p - begin];
      run_panel(k, up, p, x, rows, ups);
      k.swiglu(g[0], ups[0], rows * panel_rows);
      for (uint32_t r = 0; r < rows; ++r)
        std::copy_n(g[r], panel_rows, values[r] + (p - begin) * panel_rows);
    }
    store_hidden(scratch, tile, first, rows, values);
  });
}

/// Rows of a tile's columns to where `down` takes them from.
void expert_run::store_hidden(std::byte* scratch, const hidden_tile& tile, uint32_t first,
                              uint32_t rows, const float (*values)[tile_cols]) const {
  const auto& s = *tile.slot;
  uint32_t begin = tile.first * step_cols;
  uint32_t count = std::min(tile.count * step_cols, s.ff - begin);
  for (uint32_t r = 0; r < rows; ++r) {
    input_row to = hidden(scratch, s, first + r);
    if (quantised(s))
      k.quantise(values[r], tile.count, const_cast<input_block*>(to.blocks) + tile.first);
    else
      std::copy_n(values[r], count, const_cast<float*>(to.values) + begin);
  }
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

/// In the tasks' order, whoever runs.
void expert_run::add_all_outputs(std::byte* scratch, uint32_t begin, uint32_t end) const {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (i + 1 < slots.size())
      prefetch_panel(packed(*slots[i + 1].task->expert->down).panel(begin));
    add_outputs(scratch, slots[i], begin, end);
  }
}

std::vector<hidden_tile> hidden_tiles(const std::vector<expert_slot>& slots, uint32_t threads) {
  auto steps = [](const expert_slot& s) { return (s.ff + step_cols - 1) / step_cols; };
  uint32_t total = 0;
  for (const auto& s : slots)
    total += steps(s);
  uint32_t count = std::clamp(total / (threads * 8), 1u, most_tile_steps); // some for every worker
  std::vector<hidden_tile> tiles;
  for (const auto& s : slots)
    for (uint32_t first = 0; first < steps(s); first += count)
      tiles.push_back({&s, first, std::min(count, steps(s) - first)});
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
                   run->add_all_outputs(c.scratch, static_cast<uint32_t>(begin),
                                        static_cast<uint32_t>(end));
                 });
}

} // namespace coel::cpu
