#include "model/graph.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace coel::model {

namespace {

using compute::rows_f32;

rows_f32 view(const compute::buffer_ptr& memory, uint32_t rows, uint32_t cols) {
  return {memory->f32(), rows, cols};
}

const float* values(const compute::buffer_ptr& vector) {
  return vector ? vector->f32() : nullptr;
}

struct buffer_need {
  compute::buffer_ptr step_buffers::*slot;
  uint64_t elements;
  compute::memory where;
};

std::array<buffer_need, 14> needs(const model_config& c, uint64_t rows, uint64_t logits) {
  using compute::memory;
  uint64_t q = uint64_t{c.heads} * c.head_dim, kv = uint64_t{c.kv_heads} * c.head_dim;
  return {{
      {&step_buffers::residual, rows * c.hidden, memory::device},
      {&step_buffers::normed, rows * c.hidden, memory::device},
      {&step_buffers::q, rows * q, memory::device},
      {&step_buffers::k, rows * kv, memory::device},
      {&step_buffers::v, rows * kv, memory::device},
      {&step_buffers::mixed, rows * q, memory::device},
      {&step_buffers::router_logits, rows * c.experts, memory::device},
      {&step_buffers::ids, rows * c.top_k, memory::host_visible},
      {&step_buffers::weights, rows * c.top_k, memory::host_visible},
      {&step_buffers::shared_weight, rows, memory::device},
      {&step_buffers::chosen, logits * c.hidden, memory::device},
      {&step_buffers::logits, logits * c.vocab, memory::host_visible},
      {&step_buffers::all_ids, uint64_t{c.layers} * most_whole_rows * c.top_k, memory::device},
      {&step_buffers::all_weights, uint64_t{most_whole_rows} * c.top_k, memory::device},
  }};
}

void add_qk_norms(compute::command_list& list, const model_config& c, const layer_weights& w,
                  rows_f32 q, rows_f32 k) {
  if (c.qk == qk_norm::none)
    return;
  auto per_head = [&](rows_f32 x) {
    return c.qk == qk_norm::per_head ? rows_f32{x.data, x.rows * (x.cols / c.head_dim), c.head_dim}
                                     : x;
  };
  list.push_back(compute::rms_norm{per_head(q), values(w.q_norm), c.rms_eps, per_head(q)});
  list.push_back(compute::rms_norm{per_head(k), values(w.k_norm), c.rms_eps, per_head(k)});
}

} // namespace

uint64_t step_buffer_bytes(const model_config& config, uint32_t max_rows, uint32_t max_logits) {
  uint64_t elements = 0;
  for (const auto& need : needs(config, max_rows, max_logits))
    elements += need.elements;
  return elements * sizeof(float);
}

uint64_t working_bytes(const model_config& c, uint32_t max_rows, uint32_t max_logits) {
  // An input of int8 with a scale and a sum for each 32: 1.25 bytes a value.
  auto int8 = [](uint64_t values) { return values + values / 4; };
  uint64_t rows = max_rows, logits = max_logits;
  uint64_t widest = std::max<uint64_t>(c.hidden, uint64_t{c.heads} * c.head_dim);
  uint64_t project = int8(std::max(rows, logits) * widest) + logits * c.vocab * sizeof(float);
  uint64_t width = uint64_t{c.top_k} * c.expert_ff + c.shared_ff;
  uint64_t shared =
      c.shared_ff ? std::max<uint64_t>(1, c.shared_ff / std::max(1u, c.expert_ff)) : 0;
  constexpr uint64_t tasks_of_pick = 512; // tables that the device makes itself
  uint64_t picks = std::min<uint64_t>(rows, most_whole_rows) * c.top_k;
  uint64_t experts = picks * tasks_of_pick + int8(rows * c.hidden) +
                     rows * (c.top_k + shared) * c.hidden * sizeof(float) +
                     rows * width * 2 * sizeof(float) + int8(rows * width);
  constexpr uint64_t split_tokens = 128, most_parts = uint64_t{128} << 20;
  uint64_t splits = (c.context + split_tokens - 1) / split_tokens;
  uint64_t parts =
      std::min(most_parts, rows * c.heads * splits * (c.head_dim + uint64_t{2}) * sizeof(float));
  constexpr uint64_t rounding = 64 << 10;
  return std::max({project, experts, parts}) + rounding;
}

uint64_t table_bytes(const model_config& c) {
  constexpr uint64_t lists = uint64_t{2} << 20, most_angles = uint64_t{64} << 20;
  return lists + std::min(most_angles, uint64_t{c.context} * c.rope.dims * sizeof(float));
}

result<step_buffers> make_step_buffers(const model_config& config, compute::device& dev,
                                       uint32_t max_rows, uint32_t max_logits) {
  step_buffers b;
  b.max_rows = max_rows;
  b.max_logits = max_logits;
  for (const auto& need : needs(config, max_rows, max_logits)) {
    auto memory = dev.allocate(need.elements * sizeof(float), need.where);
    if (!memory)
      return memory.err();
    b.*need.slot = *memory;
  }
  return b;
}

compute::command_list graph::embed(const step_buffers& b, std::vector<int32_t> tokens) const {
  auto rows = static_cast<uint32_t>(tokens.size());
  compute::command_list list;
  list.push_back(compute::embed{weights_.embedding.get(), std::move(tokens),
                                view(b.residual, rows, config_.hidden)});
  return list;
}

compute::command_list graph::attention(const step_buffers& b, layer_id layer, uint32_t rows,
                                       compute::kv_cache* cache,
                                       std::vector<compute::segment> segments) const {
  return up_to_router(b, layer, rows, cache, std::move(segments), b.ids->i32(), b.weights->f32());
}

compute::command_list graph::whole_layer(const step_buffers& b, layer_id layer, uint32_t rows,
                                         compute::kv_cache* cache,
                                         std::vector<compute::segment> segments,
                                         const whole_experts& experts, uint32_t slot) const {
  const auto& c = config_;
  int32_t* ids = b.all_ids->i32() + size_t{slot} * most_whole_rows * c.top_k;
  float* weights = b.all_weights->f32();
  auto list = up_to_router(b, layer, rows, cache, std::move(segments), ids, weights);
  auto in = view(b.normed, rows, c.hidden), out = view(b.residual, rows, c.hidden);
  std::vector<uint32_t> all(rows);
  std::iota(all.begin(), all.end(), 0u);
  compute::run_experts shared{in, {}, out};
  for (const auto& e : experts.shared) {
    compute::expert_task task{e, all, {}, nullptr};
    if (c.shared_gated)
      task.row_weights = b.shared_weight->f32();
    else
      task.weights.assign(rows, 1.f);
    shared.tasks.push_back(std::move(task));
  }
  if (!shared.tasks.empty())
    list.push_back(std::move(shared));
  list.push_back(compute::run_chosen{in, ids, weights, c.top_k, experts.routed, out});
  return list;
}

compute::command_list graph::up_to_router(const step_buffers& b, layer_id layer, uint32_t rows,
                                          compute::kv_cache* cache,
                                          std::vector<compute::segment> segments, int32_t* ids,
                                          float* weights) const {
  const auto& c = config_;
  const auto& w = weights_.layers[index(layer)];
  auto residual = view(b.residual, rows, c.hidden), normed = view(b.normed, rows, c.hidden);
  auto q = view(b.q, rows, c.heads * c.head_dim), mixed = view(b.mixed, rows, q.cols);
  auto k = view(b.k, rows, c.kv_heads * c.head_dim), v = view(b.v, rows, k.cols);
  auto logits = view(b.router_logits, rows, c.experts);

  compute::command_list list;
  list.push_back(compute::rms_norm{residual, values(w.attn_norm), c.rms_eps, normed});
  list.push_back(compute::project{normed,
                                  {{w.q.get(), values(w.q_bias), q, false},
                                   {w.k.get(), values(w.k_bias), k, false},
                                   {w.v.get(), values(w.v_bias), v, false}}});
  add_qk_norms(list, c, w, q, k);
  list.push_back(
      compute::attend{q, k, v, mixed, cache, index(layer), c.heads, c.rope, std::move(segments)});
  list.push_back(compute::project{mixed, {{w.o.get(), nullptr, residual, true}}});
  list.push_back(compute::rms_norm{residual, values(w.ffn_norm), c.rms_eps, normed});
  compute::project routing{normed, {{w.router.get(), nullptr, logits, false}}};
  auto shared = view(b.shared_weight, rows, 1);
  if (w.shared_router)
    routing.outputs.push_back({w.shared_router.get(), nullptr, shared, false});
  list.push_back(std::move(routing));
  list.push_back(compute::route{logits, c.top_k, c.renormalise, ids, weights});
  if (w.shared_router)
    list.push_back(compute::sigmoid{shared});
  return list;
}

compute::command_list graph::experts(const step_buffers& b, uint32_t rows,
                                     std::vector<compute::expert_task> tasks) const {
  compute::command_list list;
  list.push_back(compute::run_experts{view(b.normed, rows, config_.hidden), std::move(tasks),
                                      view(b.residual, rows, config_.hidden)});
  return list;
}

compute::command_list graph::head(const step_buffers& b, uint32_t rows,
                                  std::vector<uint32_t> chosen) const {
  auto count = static_cast<uint32_t>(chosen.size());
  auto list = last_norm(b, rows, std::move(chosen));
  auto rest = output(view(b.chosen, count, config_.hidden), view(b.logits, count, config_.vocab), 0,
                     config_.vocab);
  std::move(rest.begin(), rest.end(), std::back_inserter(list));
  return list;
}

compute::command_list graph::last_norm(const step_buffers& b, uint32_t rows,
                                       std::vector<uint32_t> chosen) const {
  auto count = static_cast<uint32_t>(chosen.size());
  auto picked = view(b.chosen, count, config_.hidden);
  compute::command_list list;
  list.push_back(
      compute::gather{view(b.residual, rows, config_.hidden), std::move(chosen), picked});
  list.push_back(compute::rms_norm{picked, values(weights_.output_norm), config_.rms_eps, picked});
  return list;
}

compute::command_list graph::output(compute::rows_f32 in, compute::rows_f32 logits, uint32_t first,
                                    uint32_t end) const {
  compute::command_list list;
  list.push_back(
      compute::project{in, {{weights_.output.get(), nullptr, logits, false, first, end}}});
  return list;
}

} // namespace coel::model
