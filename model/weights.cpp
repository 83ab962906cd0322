#include "model/weights.hpp"

#include "compute/quant.hpp"

#include <algorithm>

namespace coel::model {

namespace {

using compute::matrix_view;

result<compute::weight_ptr> load_matrix(const source& from, compute::device& to,
                                        const tensor_key& key, uint64_t& bytes,
                                        compute::weight_use use = compute::weight_use::project) {
  auto view = from.matrix(key);
  if (!view)
    return view.err();
  auto loaded = to.load(*view, use);
  if (!loaded)
    return loaded.err();
  from.release(*view);
  bytes += (*loaded)->resident_bytes();
  return std::move(*loaded);
}

result<compute::buffer_ptr> load_vector(const source& from, compute::device& to,
                                        const tensor_key& key, uint64_t& bytes) {
  auto view = from.matrix(key);
  if (!view)
    return view.err();
  auto values = compute::to_f32(*view);
  auto memory = to.allocate(values.size() * sizeof(float));
  if (!memory)
    return memory.err();
  to.write((*memory)->data(), values.data(), values.size() * sizeof(float));
  bytes += (*memory)->size_bytes();
  return std::move(*memory);
}

/// Loads the tensors of one layer by a table of where each goes.
result<layer_weights> load_layer(const source& from, compute::device& to, layer_id layer,
                                 uint64_t& bytes) {
  layer_weights w;
  struct vector_slot {
    role what;
    compute::buffer_ptr* into;
  };
  for (auto [what, into] : {vector_slot{role::attn_norm, &w.attn_norm},
                            {role::ffn_norm, &w.ffn_norm},
                            {role::attn_q_bias, &w.q_bias},
                            {role::attn_k_bias, &w.k_bias},
                            {role::attn_v_bias, &w.v_bias},
                            {role::attn_q_norm, &w.q_norm},
                            {role::attn_k_norm, &w.k_norm}}) {
    tensor_key key{what, layer, {}};
    if (!from.has(key))
      continue;
    auto loaded = load_vector(from, to, key, bytes);
    if (!loaded)
      return loaded.err();
    *into = *loaded;
  }
  struct matrix_slot {
    role what;
    compute::weight_ptr* into;
  };
  for (auto [what, into] : {matrix_slot{role::attn_q, &w.q},
                            {role::attn_k, &w.k},
                            {role::attn_v, &w.v},
                            {role::attn_output, &w.o},
                            {role::router, &w.router},
                            {role::shared_router, &w.shared_router}}) {
    tensor_key key{what, layer, {}};
    if (!from.has(key))
      continue;
    auto loaded = load_matrix(from, to, key, bytes);
    if (!loaded)
      return loaded.err();
    *into = *loaded;
  }
  return w;
}

using compute::expert_views;

/// A slice of the shared expert: rows of gate and up, the same columns of down.
result<expert_views> shared_slice(const source& from, layer_id layer, uint32_t slice) {
  auto gate = from.matrix({role::shared_gate, layer, {}});
  if (!gate)
    return gate.err();
  auto up = from.matrix({role::shared_up, layer, {}});
  if (!up)
    return up.err();
  auto down = from.matrix({role::shared_down, layer, {}});
  if (!down)
    return down.err();
  uint64_t width = gate->rows / shared_slices(from);
  return expert_views{gate->row_slice(slice * width, width), up->row_slice(slice * width, width),
                      down->col_slice(slice * width, width)};
}

result<expert_views> views_of(const source& from, expert_key key) {
  uint32_t routed = from.config().experts;
  if (index(key.expert) >= routed)
    return shared_slice(from, key.layer, index(key.expert) - routed);
  auto gate = from.matrix({role::expert_gate, key.layer, key.expert});
  if (!gate)
    return gate.err();
  auto up = from.matrix({role::expert_up, key.layer, key.expert});
  if (!up)
    return up.err();
  auto down = from.matrix({role::expert_down, key.layer, key.expert});
  if (!down)
    return down.err();
  return expert_views{*gate, *up, *down};
}

} // namespace

result<dense_weights> load_dense(const source& from, compute::device& to) {
  dense_weights w;
  const auto& config = from.config();
  tensor_key embedding{role::token_embedding, {}, {}};
  auto table = load_matrix(from, to, embedding, w.bytes, compute::weight_use::lookup);
  if (!table)
    return table.err();
  w.embedding = *table;
  auto output = load_matrix(
      from, to, config.tied_output ? embedding : tensor_key{role::output, {}, {}}, w.bytes);
  if (!output)
    return output.err();
  w.output = *output;
  auto norm = load_vector(from, to, {role::output_norm, {}, {}}, w.bytes);
  if (!norm)
    return norm.err();
  w.output_norm = *norm;
  for (uint32_t l = 0; l < config.layers; ++l) {
    auto layer = load_layer(from, to, static_cast<layer_id>(l), w.bytes);
    if (!layer)
      return layer.err();
    w.layers.push_back(std::move(*layer));
  }
  return w;
}

uint32_t shared_slices(const source& from) {
  const auto& config = from.config();
  if (config.shared_ff == 0)
    return 0;
  uint32_t block = 1;
  for (uint32_t l = 0; l < config.layers; ++l)
    if (auto down = from.matrix({role::shared_down, static_cast<layer_id>(l), {}}); down)
      block = std::max(block, info(down->type).block_elements);
  return config.shared_slices(block);
}

uint32_t experts_per_layer(const source& from) {
  return from.config().experts + shared_slices(from);
}

result<expert_ptr> load_expert(const source& from, compute::device& to, expert_key key,
                               compute::weight_use use) {
  auto views = views_of(from, key);
  if (!views)
    return views.err();
  auto loaded = to.load_expert(*views, use);
  for (const auto* v : {&views->gate, &views->up, &views->down})
    from.release(*v);
  return loaded;
}

result<uint64_t> expert_file_bytes(const source& from, expert_key key) {
  auto views = views_of(from, key);
  if (!views)
    return views.err();
  return views->gate.bytes() + views->up.bytes() + views->down.bytes();
}

result<dtype> expert_type(const source& from, expert_key key) {
  auto views = views_of(from, key);
  if (!views)
    return views.err();
  return views->gate.type;
}

} // namespace coel::model
