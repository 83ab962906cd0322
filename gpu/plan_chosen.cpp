// Experts by ids that only the card knows: the tasks are made there (choose_kernel.hpp), for as
// many experts as the rows could choose at the most; launches of those that nobody chose end at
// once.
#include "gpu/plan.hpp"

#include <algorithm>

namespace coel::gpu {

namespace {

const card_weight& on_card(const std::shared_ptr<const compute::weight>& w) {
  return static_cast<const card_weight&>(*w);
}

matrix_task like(const card_weight& w, float* out) {
  matrix_task t;
  t.row_bytes = w.row_bytes();
  t.rows = w.rows();
  t.cols = w.cols();
  t.out_cols = w.rows();
  t.out = out;
  return t;
}

/// Rows that the tiles of a type take at once.
uint32_t most_rows_of(dtype type) {
  return is_quantised(type) ? most_chosen_rows : 1u << (tile_sizes - 1);
}

} // namespace

uint32_t chosen_rows(const compute::expert_table& experts) {
  if (experts.empty() || !experts.front())
    return 0;
  const auto& one = *experts.front();
  auto alike = [](const compute::weight& a, const compute::weight& b) {
    return a.type() == b.type() && a.rows() == b.rows() && a.cols() == b.cols();
  };
  for (const auto& e : experts)
    if (!e || !alike(*e->gate, *one.gate) || !alike(*e->up, *one.up) || !alike(*e->down, *one.down))
      return 0;
  return std::min({most_rows_of(one.gate->type()), most_rows_of(one.up->type()),
                   most_rows_of(one.down->type())});
}

void planner::multiply_chosen(dtype type, const matrix_task* tasks, uint32_t weight_rows,
                              uint32_t rows, uint32_t groups) {
  uint32_t unit = is_quantised(type) ? 8 : 1; // rows of the smallest tile
  uint32_t size = size_index((rows + unit - 1) / unit);
  uint32_t of_block = is_quantised(type) ? panel_rows * panels_of_block(1u << size) : float_rows;
  launch(matrix_kernel_of(type, size), {(weight_rows + of_block - 1) / of_block, groups},
         matrix_args{tasks});
}

void planner::plan(const compute::run_chosen& op) {
  uint32_t rows = op.in.rows, picks = rows * op.top_k;
  if (rows == 0)
    return;
  if (rows > chosen_rows(*op.experts) || op.top_k > most_top_k) {
    refusal_ = "run_chosen: too many rows, or experts of different types";
    return;
  }
  auto of_layer = static_cast<uint32_t>(op.experts->size()), groups = std::min(picks, of_layer);
  const auto& one = *op.experts->front();
  const auto &gate = on_card(one.gate), &up = on_card(one.up), &down = on_card(one.down);
  uint32_t width = gate.rows();
  std::vector<expert_address> addresses;
  for (const auto& e : *op.experts)
    addresses.push_back({on_card(e->gate).data(), on_card(e->up).data(), on_card(e->down).data()});

  bool any = is_quantised(gate.type()) || is_quantised(up.type());
  int8_rows x = any ? quantised(op.in) : int8_rows{};
  float* slots = scratch(uint64_t{picks} * op.out.cols);
  float* gates = scratch(uint64_t{picks} * width);
  float* ups = scratch(uint64_t{picks} * width);
  swiglu_args mid{gates, ups, gates, {}, picks, width};
  if (is_quantised(down.type())) {
    mid.out = nullptr;
    mid.quantised = int8_scratch(picks, width);
  }
  std::vector<matrix_task> likes{like(gate, gates), like(up, ups), like(down, slots)};
  likes[0].x = likes[1].x = op.in.data;
  likes[0].quantised = likes[1].quantised = x;
  likes[2].x = gates;
  likes[2].quantised = mid.quantised;

  choose_args chosen;
  chosen.ids = op.ids;
  chosen.weights = op.weights;
  chosen.experts = table(addresses);
  chosen.like = table(likes);
  chosen.tasks = scratch<matrix_task>(uint64_t{3} * groups);
  chosen.x_rows = scratch<uint32_t>(picks);
  chosen.shares = scratch<share>(picks);
  chosen.rows = rows;
  chosen.top_k = op.top_k;
  chosen.groups = groups;
  chosen.of_layer = of_layer;
  launch(kernel::choose, {1}, chosen);
  multiply_chosen(gate.type(), chosen.tasks, width, rows, groups);
  multiply_chosen(up.type(), chosen.tasks + groups, width, rows, groups);
  launch(
      kernel::swiglu,
      {static_cast<uint32_t>((uint64_t{picks} * ((width + 31) / 32) + row_warps - 1) / row_warps)},
      mid);
  multiply_chosen(down.type(), chosen.tasks + 2 * groups, op.out.cols, rows, groups);

  std::vector<uint32_t> first(rows + 1), row(rows);
  for (uint32_t r = 0; r <= rows; ++r)
    first[r] = r * op.top_k;
  for (uint32_t r = 0; r < rows; ++r)
    row[r] = r;
  launch(
      kernel::combine, {(op.out.cols + row_threads - 1) / row_threads, rows},
      combine_args{slots, chosen.shares, table(first), table(row), op.out.data, rows, op.out.cols});
}

} // namespace coel::gpu
