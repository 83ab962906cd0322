// The light operations, and projections.
#include "gpu/plan.hpp"

namespace coel::gpu {

namespace {

constexpr uint32_t most_rows = 65535; // blocks in y

uint32_t blocks_for(uint64_t items, uint32_t each) {
  return static_cast<uint32_t>((items + each - 1) / each);
}

const card_weight& on_card(const compute::weight& w) {
  return static_cast<const card_weight&>(w);
}

/// The columns that are asked for, as a matrix of their own: a part begins at a whole panel.
matrix_task part_of(const compute::projection& p) {
  static_assert(compute::projection_unit % panel_rows == 0);
  const auto& w = on_card(*p.w);
  matrix_task t;
  t.weight = w.data() + p.first / (is_quantised(w.type()) ? panel_rows : 1) * w.row_bytes();
  t.bias = p.bias ? p.bias + p.first : nullptr;
  t.out = p.out.data + p.first;
  t.row_bytes = w.row_bytes();
  t.rows = p.end_column() - p.first;
  t.cols = w.cols();
  t.out_cols = p.out.cols;
  t.add = p.add;
  return t;
}

} // namespace

void planner::copy(void* to, const void* from, uint64_t bytes) {
  if (bytes == 0)
    return;
  step& s = steps_.emplace_back();
  s.to = to;
  s.from = from;
  s.bytes = bytes;
}

void planner::copy_part(const compute::rows_f32& to, const float* from, uint32_t cols) {
  bool dense = cols == to.cols;
  uint32_t copies = dense ? 1 : to.rows;
  uint64_t values = dense ? uint64_t{to.rows} * cols : cols;
  for (uint32_t r = 0; r < copies; ++r)
    copy(to.row(r), from + uint64_t{r} * cols, values * sizeof(float));
}

int8_rows planner::int8_scratch(uint64_t rows, uint32_t cols) {
  uint32_t blocks = cols / block_cols;
  if (rows * blocks > UINT32_MAX) // the kernels count blocks in 32 bits
    refusal_ = "more than 2^37 values in one input";
  int8_rows out;
  out.q = scratch<std::byte>(rows * cols);
  out.scale = scratch(rows * blocks);
  out.sum = scratch(rows * blocks);
  out.blocks = blocks;
  return out;
}

int8_rows planner::quantised(const compute::rows_f32& in) {
  auto out = int8_scratch(in.rows, in.cols);
  launch(kernel::quantise, {blocks_for(uint64_t{in.rows} * out.blocks, row_warps)},
         quantise_args{in.data, out, in.rows});
  return out;
}

void planner::multiply(dtype type, std::vector<matrix_task> tasks) {
  uint32_t unit = is_quantised(type) ? 8 : 1; // rows of the smallest tile
  std::array<std::vector<matrix_task>, tile_sizes> by_size;
  std::array<uint32_t, tile_sizes> tallest{};
  for (const auto& whole : tasks)
    for (uint32_t done = 0; done < whole.count;) {
      matrix_task t = whole;
      t.count = std::min(whole.count - done, 8 * unit);
      t.out += uint64_t{done} * t.out_cols;
      if (t.x_rows)
        t.x_rows += done;
      else
        t.first_x += done;
      done += t.count;
      uint32_t size = size_index((t.count + unit - 1) / unit);
      by_size[size].push_back(t);
      tallest[size] = std::max(tallest[size], t.rows);
    }
  for (uint32_t size = 0; size < tile_sizes; ++size)
    for (size_t first = 0; first < by_size[size].size(); first += most_rows) {
      auto& all = by_size[size];
      std::vector<matrix_task> some(
          all.begin() + static_cast<ptrdiff_t>(first),
          all.begin() + static_cast<ptrdiff_t>(std::min<size_t>(all.size(), first + most_rows)));
      uint32_t rows = is_quantised(type) ? panel_rows * panels_of_block(1u << size) : float_rows;
      launch(matrix_kernel_of(type, size),
             {blocks_for(tallest[size], rows), static_cast<uint32_t>(some.size())},
             matrix_args{table(some)});
    }
}

void planner::plan(const compute::project& op) {
  bool any = std::any_of(op.outputs.begin(), op.outputs.end(),
                         [](const auto& p) { return is_quantised(p.w->type()); });
  int8_rows x = any && op.in.rows ? quantised(op.in) : int8_rows{};
  std::array<std::vector<matrix_task>, dtype_count> by_type;
  std::vector<std::pair<compute::rows_f32, matrix_task>> copies;
  for (const auto& p : op.outputs) {
    matrix_task t = part_of(p);
    t.x = op.in.data;
    t.quantised = x;
    t.count = op.in.rows;
    // Single floats over the bus are slow: the host's part is copied when it is whole.
    if (!p.add && context_.host_visible(p.out.data)) {
      compute::rows_f32 to{t.out, t.count, t.out_cols};
      t.out = scratch(uint64_t{t.count} * t.rows);
      t.out_cols = t.rows;
      copies.emplace_back(to, t);
    }
    by_type[static_cast<size_t>(p.w->type())].push_back(t);
  }
  for (size_t type = 0; type < dtype_count; ++type)
    multiply(static_cast<dtype>(type), std::move(by_type[type]));
  for (const auto& [to, from] : copies)
    copy_part(to, from.out, from.rows);
}

void planner::plan(const compute::embed& op) {
  const auto& w = on_card(*op.table);
  launch(kernel::embed, {blocks_for(op.out.cols, row_threads), op.out.rows},
         embed_args{w.data(), w.row_bytes(), table(op.tokens), op.out.data, op.out.rows,
                    op.out.cols, w.type()});
}

void planner::plan(const compute::rms_norm& op) {
  norm_args args{op.in.data, op.gain, op.out.data, op.in.rows, op.in.cols, op.eps};
  if (op.in.cols == 0)
    return;
  // Which kernel depends on the width alone, so that a row's result does.
  if (op.in.cols <= 256)
    launch(kernel::norm_short, {blocks_for(op.in.rows, row_warps)}, args);
  else
    launch(kernel::norm, {op.in.rows}, args);
}

void planner::plan(const compute::route& op) {
  if (op.top_k > most_top_k)
    refusal_ = "route: at most " + std::to_string(most_top_k) + " experts a token on a GPU";
  launch(kernel::route, {blocks_for(op.logits.rows, row_warps)},
         route_args{op.logits.data, op.ids, op.weights, op.logits.rows, op.logits.cols, op.top_k,
                    op.renormalise});
}

void planner::plan(const compute::sigmoid& op) {
  uint64_t count = uint64_t{op.x.rows} * op.x.cols;
  launch(kernel::sigmoid, {blocks_for(count, row_threads)},
         elements_args{op.x.data, op.x.data, count});
}

void planner::plan(const compute::gather& op) {
  launch(kernel::gather,
         {blocks_for(op.in.cols, row_threads), static_cast<uint32_t>(op.rows.size())},
         gather_args{op.in.data, table(op.rows), op.out.data, op.out.rows, op.in.cols});
}

void planner::plan(const compute::add& op) {
  uint64_t count = uint64_t{op.in.rows} * op.in.cols;
  launch(kernel::add, {blocks_for(count, row_threads)},
         elements_args{op.in.data, op.out.data, count});
}

result<void> planner::plan(const compute::command_list& list) {
  for (const auto& op : list) {
    scratch_ = 0;
    std::visit([&](const auto& x) { plan(x); }, op);
  }
  for (const auto& s : steps_)
    if (s.blocks.y > most_rows || s.blocks.z > most_rows)
      refusal_ = "more than " + std::to_string(most_rows) + " rows in one operation";
  if (!refusal_.empty())
    return {ec::unsupported, refusal_};
  return {};
}

} // namespace coel::gpu
