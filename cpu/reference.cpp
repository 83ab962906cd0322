// The plain scalar kernel set: weights are dequantised row by row, sums are in double.
#include "compute/quant.hpp"
#include "cpu/attend_plan.hpp"
#include "cpu/expert_plan.hpp"

#include <cmath>

namespace coel::cpu {

namespace {

constexpr size_t tile_rows = 16; // weight rows of one tile

const compute::matrix_view& view_of(const compute::weight& w) {
  return static_cast<const view_weight&>(w).view();
}

std::vector<float> weight_row(const compute::matrix_view& matrix, size_t r) {
  std::vector<float> values(matrix.cols);
  compute::dequantise_row(matrix.type, matrix.row(r), values.data(), matrix.cols);
  return values;
}

double dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i)
    sum += double{a[i]} * double{b[i]};
  return sum;
}

void project_column(const compute::project& op, const compute::projection& p, size_t column) {
  auto w = weight_row(view_of(*p.w), column);
  for (uint32_t r = 0; r < op.in.rows; ++r) {
    double y = dot(op.in.row(r), w.data(), w.size()) + (p.bias ? double{p.bias[column]} : 0.0);
    float& to = p.out.row(r)[column];
    to = static_cast<float>(p.add ? to + y : y);
  }
}

/// Column j of silu(gate x) * up x for every row of the task.
void expert_hidden(const compute::run_experts& op, const expert_slot& s, size_t j, float* hidden) {
  auto gate = weight_row(view_of(*s.task->expert->gate), j);
  auto up = weight_row(view_of(*s.task->expert->up), j);
  for (size_t i = 0; i < s.task->rows.size(); ++i) {
    const float* x = op.in.row(s.task->rows[i]);
    double g = dot(x, gate.data(), gate.size());
    double u = dot(x, up.data(), up.size());
    hidden[s.first_value + i * s.ff + j] = static_cast<float>(g / (1.0 + std::exp(-g)) * u);
  }
}

void expert_output(const compute::run_experts& op, const expert_slot& s, size_t column,
                   const float* hidden) {
  auto down = weight_row(view_of(*s.task->expert->down), column);
  for (size_t i = 0; i < s.task->rows.size(); ++i) {
    double y = dot(hidden + s.first_value + i * s.ff, down.data(), down.size());
    op.out.row(s.task->rows[i])[column] += static_cast<float>(expert_factor(*s.task, i) * y);
  }
}

/// Keys and values of one head of one row's session, by position.
struct history {
  const paged_kv& cache;
  const attend_row& row;
  uint32_t layer;
  uint32_t kv_head;

  float key(uint32_t position, uint32_t d) const {
    uint32_t tokens = cache.shape().page_tokens;
    const uint16_t* page = cache.keys(row.in->pages[position / tokens], layer, kv_head);
    return compute::f16_to_f32(page[size_t{d} * tokens + position % tokens]);
  }
  float value(uint32_t position, uint32_t d) const {
    const auto& shape = cache.shape();
    const uint16_t* page =
        cache.values(row.in->pages[position / shape.page_tokens], layer, kv_head);
    return compute::f16_to_f32(page[size_t{position % shape.page_tokens} * shape.head_dim + d]);
  }
};

void attend_head(const compute::attend& op, const attend_row& row, uint32_t head) {
  const auto& cache = static_cast<const paged_kv&>(*op.cache);
  uint32_t dims = cache.shape().head_dim;
  history past{cache, row, op.layer, head / (op.heads / cache.shape().kv_heads)};
  const float* q = op.q.row(row.row) + size_t{head} * dims;
  std::vector<double> scores(size_t{row.position} + 1);
  for (uint32_t t = 0; t <= row.position; ++t) {
    for (uint32_t d = 0; d < dims; ++d)
      scores[t] += double{q[d]} * double{past.key(t, d)};
    scores[t] /= std::sqrt(static_cast<double>(dims));
  }
  double largest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& s : scores)
    total += s = std::exp(s - largest);
  float* out = op.out.row(row.row) + size_t{head} * dims;
  for (uint32_t d = 0; d < dims; ++d) {
    double sum = 0;
    for (uint32_t t = 0; t <= row.position; ++t)
      sum += scores[t] * double{past.value(t, d)};
    out[d] = static_cast<float>(sum / total);
  }
}

void half_values(const float* in, uint16_t* out, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i)
    out[i] = compute::f32_to_f16(in[i]);
}

class reference_set : public kernel_set {
 public:
  std::string_view name() const override { return "reference"; }

  result<compute::weight_ptr> load(const compute::matrix_view& matrix,
                                   const budget_ptr& from) const override {
    auto made = view_weight::make(matrix, from);
    if (!made.ok())
      return made.err();
    return compute::weight_ptr(*made);
  }

  bool owns(const compute::weight& w) const override {
    return dynamic_cast<const view_weight*>(&w) != nullptr;
  }

  void plan(planner& out, const compute::project& op) const override {
    for (const auto& p : op.outputs)
      out.add_chunks(p.end_column() - p.first, tile_rows,
                     [&](const tile_context&, size_t begin, size_t end) {
                       for (size_t column = begin; column < end; ++column)
                         project_column(op, p, p.first + column);
                     });
  }

  void plan(planner& out, const compute::attend& op) const override {
    auto rows = std::make_shared<const std::vector<attend_row>>(attend_rows(op, out.ropes()));
    plan_store(out, op, rows, half_values);
    out.add(rows->size() * op.heads, [&op, rows](const tile_context&, uint32_t tile) {
      attend_head(op, (*rows)[tile / op.heads], tile % op.heads);
    });
  }

  void plan(planner& out, const compute::run_experts& op) const override {
    auto slots = expert_slots(op);
    if (slots.empty())
      return;
    const auto& last = slots.back();
    size_t at = out.scratch((last.first_value + last.task->rows.size() * last.ff) * sizeof(float));
    for (const auto& s : slots)
      out.add_chunks(s.ff, tile_rows,
                     [&op, s, at](const tile_context& c, size_t begin, size_t end) {
                       for (size_t j = begin; j < end; ++j)
                         expert_hidden(op, s, j, reinterpret_cast<float*>(c.scratch + at));
                     });
    out.add_chunks(op.out.cols, tile_rows,
                   [&op, slots, at](const tile_context& c, size_t begin, size_t end) {
                     for (const auto& s : slots)
                       for (size_t column = begin; column < end; ++column)
                         expert_output(op, s, column, reinterpret_cast<float*>(c.scratch + at));
                   });
  }
};

} // namespace

const kernel_set& reference_kernels() {
  static const reference_set set;
  return set;
}

} // namespace coel::cpu
