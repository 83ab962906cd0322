// A model's demands from its shape, for planning without its file.
#pragma once

#include "policy/plan_facts.hpp"

#include <algorithm>

namespace coel::policy {

struct model_figures {
  std::string name;
  uint32_t layers = 0;
  uint32_t hidden = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t experts = 0; ///< routed, of a layer
  uint32_t top_k = 0;
  uint32_t expert_ff = 0;
  uint32_t shared_ff = 0;
  uint32_t slices = 0; ///< that the shared expert is cut into
  uint32_t vocab = 0;
  bool tied_output = false;
  double bytes_per_weight = 2;
  uint32_t context_tokens = 4096; ///< KV in f16
};

/// Slices of the shared expert count as experts, as they are dispatched; rows travel as f16.
inline model_demand demand_of(const model_figures& f) {
  auto bytes = [&](double weights) { return static_cast<uint64_t>(weights * f.bytes_per_weight); };
  double hidden = f.hidden, expert = 3 * hidden * f.expert_ff;
  double attention = hidden * f.head_dim * (2.0 * f.heads + 2.0 * f.kv_heads);
  double table = hidden * f.vocab;
  model_demand d;
  d.name = f.name;
  d.layers = f.layers;
  d.slices = f.slices;
  d.experts = f.experts + f.slices;
  d.top_k = f.top_k + f.slices;
  if (f.slices > 0)
    expert = std::max(expert, 3 * hidden * f.shared_ff / f.slices);
  d.expert_bytes = bytes(expert);
  d.dense_layer_bytes = bytes(attention) + static_cast<uint64_t>(4 * hidden * (f.experts + 4));
  d.head_bytes = bytes(table);
  d.embedding_bytes = f.tied_output ? 0 : bytes(table);
  d.kv_bytes_per_token = uint64_t{4} * f.layers * f.kv_heads * f.head_dim;
  d.context_tokens = f.context_tokens;
  d.expert_macs = expert;
  d.dense_layer_macs = attention + hidden * f.experts;
  d.head_macs = table;
  d.wire_row_bytes = 2 * f.hidden;
  return d;
}

} // namespace coel::policy
