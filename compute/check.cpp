#include "compute/check.hpp"

namespace coel::compute {

namespace {

using verdict = std::string; // empty: fine

std::string shape(uint64_t rows, uint64_t cols) {
  std::string text = "[";
  return text.append(std::to_string(rows)).append(", ").append(std::to_string(cols)).append("]");
}

verdict need_rows(const char* what, const rows_f32& x, uint64_t rows, uint64_t cols) {
  if (x.rows != rows || x.cols != cols)
    return std::string(what) + " is " + shape(x.rows, x.cols) + ", must be " + shape(rows, cols);
  if (!x.data && rows && cols)
    return std::string(what) + " has no memory";
  return {};
}

verdict need_weight(const char* what, const weight* w, uint64_t rows, uint64_t cols,
                    const ownership& made) {
  if (!w)
    return std::string(what) + " is missing";
  if (!made.projects(*w))
    return std::string(what) + " was not loaded by this device for projections";
  if (w->rows() != rows || w->cols() != cols)
    return std::string(what) + " is " + shape(w->rows(), w->cols()) + ", must be " +
           shape(rows, cols);
  return {};
}

verdict part_verdict(const projection& p) {
  if (p.first % projection_unit != 0 || p.first >= p.end_column())
    return "its part must begin before its end, at a multiple of " +
           std::to_string(projection_unit);
  return {};
}

/// The first that is not fine.
template <class... F>
verdict first_of(F&&... tests) {
  verdict v;
  (void)((v = tests(), v.empty()) && ...);
  return v;
}

template <class Index>
verdict need_below(const char* what, const std::vector<Index>& values, uint64_t limit) {
  for (Index x : values)
    if (x < Index{0} || static_cast<uint64_t>(x) >= limit)
      return std::string(what) + " " + std::to_string(x) + " is out of range: there are " +
             std::to_string(limit);
  return {};
}

struct checker {
  const ownership& made;

  verdict operator()(const embed& op) const {
    if (!op.table || !made.looks_up(*op.table))
      return "table was not loaded by this device for look-up";
    return first_of([&] { return need_rows("out", op.out, op.tokens.size(), op.table->cols()); },
                    [&] { return need_below("token", op.tokens, op.table->rows()); });
  }

  verdict operator()(const rms_norm& op) const {
    if (!op.gain)
      return "gain is missing";
    return first_of([&] { return need_rows("in", op.in, op.in.rows, op.in.cols); },
                    [&] { return need_rows("out", op.out, op.in.rows, op.in.cols); });
  }

  verdict operator()(const project& op) const {
    verdict v = need_rows("in", op.in, op.in.rows, op.in.cols);
    for (const auto& p : op.outputs)
      if (v.empty())
        v = first_of([&] { return need_rows("out", p.out, op.in.rows, p.out.cols); },
                     [&] { return need_weight("weight", p.w, p.out.cols, op.in.cols, made); },
                     [&] { return part_verdict(p); });
    return v;
  }

  verdict operator()(const attend& op) const {
    if (!op.cache || !made.caches(*op.cache))
      return "cache was not made by this device";
    const auto& s = op.cache->shape();
    if (op.layer >= s.layers)
      return "layer " + std::to_string(op.layer) + " is out of range: the cache has " +
             std::to_string(s.layers);
    if (op.heads == 0 || op.heads % s.kv_heads != 0)
      return "heads must be a multiple of the cache's kv heads";
    if (op.rope.dims > s.head_dim || op.rope.dims % 2 != 0)
      return "rope dims must be even and within a head";
    uint64_t kv = uint64_t{s.kv_heads} * s.head_dim;
    uint64_t q = uint64_t{op.heads} * s.head_dim;
    verdict v = first_of([&] { return need_rows("q", op.q, op.q.rows, q); },
                         [&] { return need_rows("k", op.k, op.q.rows, kv); },
                         [&] { return need_rows("v", op.v, op.q.rows, kv); },
                         [&] { return need_rows("out", op.out, op.q.rows, q); });
    for (const auto& segment : op.segments)
      if (v.empty())
        v = segment_verdict(segment, op.q.rows, s);
    return v;
  }

  verdict operator()(const route& op) const {
    if (op.top_k == 0 || op.top_k > op.logits.cols)
      return "top k must be between 1 and the number of experts";
    if (!op.ids || !op.weights)
      return "ids or weights have no memory";
    return need_rows("logits", op.logits, op.logits.rows, op.logits.cols);
  }

  verdict operator()(const sigmoid& op) const { return need_rows("x", op.x, op.x.rows, op.x.cols); }

  verdict operator()(const run_experts& op) const {
    verdict v = first_of([&] { return need_rows("in", op.in, op.in.rows, op.in.cols); },
                         [&] { return need_rows("out", op.out, op.in.rows, op.in.cols); });
    for (const auto& task : op.tasks)
      if (v.empty())
        v = task_verdict(task, op.in);
    return v;
  }

  verdict operator()(const gather& op) const {
    return first_of([&] { return need_rows("in", op.in, op.in.rows, op.in.cols); },
                    [&] { return need_rows("out", op.out, op.rows.size(), op.in.cols); },
                    [&] { return need_below("row", op.rows, op.in.rows); });
  }

  verdict operator()(const add& op) const {
    return first_of([&] { return need_rows("in", op.in, op.in.rows, op.in.cols); },
                    [&] { return need_rows("out", op.out, op.in.rows, op.in.cols); });
  }

  verdict operator()(const run_chosen& op) const {
    if (!made.runs_chosen())
      return "this device does not run experts by their ids";
    if (!op.experts || op.experts->empty())
      return "experts are missing";
    if (op.top_k == 0 || op.top_k > op.experts->size())
      return "top k must be between 1 and the number of experts";
    if (!op.ids || !op.weights)
      return "ids or weights have no memory";
    verdict v = first_of([&] { return need_rows("in", op.in, op.in.rows, op.in.cols); },
                         [&] { return need_rows("out", op.out, op.in.rows, op.in.cols); });
    for (const auto& e : *op.experts)
      if (v.empty())
        v = e && e->gate ? expert_verdict(*e, op.experts->front()->gate->rows(), op.in.cols)
                         : "an expert is missing";
    return v;
  }

  static verdict segment_verdict(const segment& s, uint64_t rows, const kv_shape& shape) {
    if (uint64_t{s.first_row} + s.count > rows)
      return "a segment exceeds the rows";
    if (uint64_t{s.position} + s.count > uint64_t{s.pages.size()} * shape.page_tokens ||
        uint64_t{s.position} + s.count > UINT32_MAX)
      return "a segment's pages do not cover its tokens";
    return need_below("page", s.pages, shape.pages);
  }

  verdict task_verdict(const expert_task& task, const rows_f32& in) const {
    if (!task.expert || !task.expert->gate)
      return "an expert is missing";
    if (!task.weights.empty() && task.weights.size() != task.rows.size())
      return "a task has not one weight a row";
    return first_of(
        [&] { return expert_verdict(*task.expert, task.expert->gate->rows(), in.cols); },
        [&] { return need_below("row", task.rows, in.rows); });
  }

  verdict expert_verdict(const expert_weights& e, uint64_t ff, uint64_t hidden) const {
    return first_of([&] { return need_weight("gate", e.gate.get(), ff, hidden, made); },
                    [&] { return need_weight("up", e.up.get(), ff, hidden, made); },
                    [&] { return need_weight("down", e.down.get(), hidden, ff, made); });
  }
};

constexpr const char* names[] = {"embed",   "rms_norm",    "project", "attend", "route",
                                 "sigmoid", "run_experts", "gather",  "add",    "run_chosen"};
static_assert(std::size(names) == std::variant_size_v<operation>);

} // namespace

result<void> check(const command_list& list, const ownership& made) {
  for (size_t i = 0; i < list.size(); ++i)
    if (verdict v = std::visit(checker{made}, list[i]); !v.empty())
      return {ec::bad_argument,
              "operation " + std::to_string(i) + " (" + names[list[i].index()] + "): " + v};
  return {};
}

result<void> check(const matrix_view& m) {
  const auto& geometry = info(m.type);
  if (m.rows == 0 || m.cols == 0 || m.cols % geometry.block_elements != 0)
    return {ec::unsupported, "weight: " + std::to_string(m.rows) + " x " + std::to_string(m.cols) +
                                 " is no shape for " + std::string(geometry.name) +
                                 ", whose blocks hold " + std::to_string(geometry.block_elements) +
                                 " columns"};
  if (m.rows > INT32_MAX || m.cols > INT32_MAX)
    return {ec::unsupported, "weight: more than 2^31 - 1 rows or columns"};
  if (!m.data || m.stride_bytes < row_bytes(m.type, m.cols))
    return {ec::bad_argument, "weight: no data, or rows that overlap"};
  return {};
}

result<uint64_t> kv_bytes(const kv_shape& shape) {
  if (shape.page_tokens == 0 || shape.page_tokens % 16 != 0)
    return {ec::bad_argument, "kv cache: page_tokens must be a multiple of 16"};
  if (shape.kv_heads == 0 || shape.head_dim == 0)
    return {ec::bad_argument, "kv cache: kv_heads and head_dim must not be 0"};
  uint64_t bytes = sizeof(uint16_t) * 2;
  for (uint64_t factor :
       {shape.layers, shape.kv_heads, shape.head_dim, shape.page_tokens, shape.pages})
    if (__builtin_mul_overflow(bytes, factor, &bytes))
      return {ec::out_of_memory, "kv cache: its size exceeds 64 bits"};
  return bytes;
}

} // namespace coel::compute
