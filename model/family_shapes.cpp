#include "model/family.hpp"

#include <cmath>

namespace coel::model {

std::optional<matrix_shape> required_shape(const model_config& c, role what) {
  uint64_t h = c.hidden, q = uint64_t{c.heads} * c.head_dim, kv = uint64_t{c.kv_heads} * c.head_dim;
  bool whole = c.qk == qk_norm::whole;
  auto only_if = [](bool has, matrix_shape s) { return has ? std::optional(s) : std::nullopt; };
  switch (what) {
  case role::token_embedding:
    return matrix_shape{c.vocab, h};
  case role::output:
    return only_if(!c.tied_output, {c.vocab, h});
  case role::output_norm:
  case role::attn_norm:
  case role::ffn_norm:
    return matrix_shape{1, h};
  case role::attn_q:
    return matrix_shape{q, h};
  case role::attn_k:
  case role::attn_v:
    return matrix_shape{kv, h};
  case role::attn_q_bias:
    return only_if(c.qkv_bias, {1, q});
  case role::attn_k_bias:
  case role::attn_v_bias:
    return only_if(c.qkv_bias, {1, kv});
  case role::attn_output:
    return matrix_shape{h, q};
  case role::attn_q_norm:
    return only_if(c.qk != qk_norm::none, {1, whole ? q : c.head_dim});
  case role::attn_k_norm:
    return only_if(c.qk != qk_norm::none, {1, whole ? kv : c.head_dim});
  case role::router:
    return matrix_shape{c.experts, h};
  case role::shared_router:
    return only_if(c.shared_gated, {1, h});
  case role::shared_gate:
  case role::shared_up:
    return only_if(c.shared_ff, {c.shared_ff, h});
  case role::shared_down:
    return only_if(c.shared_ff, {h, c.shared_ff});
  case role::expert_gate:
  case role::expert_up:
    return matrix_shape{c.expert_ff, h};
  case role::expert_down:
    return matrix_shape{h, c.expert_ff};
  }
  return std::nullopt;
}

std::vector<tensor_key> required_tensors(const model_config& c) {
  std::vector<tensor_key> keys;
  auto add = [&](role what, uint32_t layer) {
    if (!required_shape(c, what))
      return;
    for (uint32_t e = 0; e < (is_expert_role(what) ? c.experts : 1); ++e)
      keys.push_back({what, static_cast<layer_id>(layer), static_cast<expert_id>(e)});
  };
  constexpr auto first_in_layer = static_cast<size_t>(role::attn_norm);
  for (size_t r = 0; r < first_in_layer; ++r)
    add(static_cast<role>(r), 0);
  for (uint32_t l = 0; l < c.layers; ++l)
    for (size_t r = first_in_layer; r < role_count; ++r)
      add(static_cast<role>(r), l);
  return keys;
}

namespace {

struct bound {
  const char* field;
  uint64_t value;
  uint64_t most;
};

error out_of_range(const bound& b) {
  return {ec::bad_file, std::string(b.field) + " is " + std::to_string(b.value) +
                            "; it must be between 1 and " + std::to_string(b.most)};
}

} // namespace

result<void> check(const model_config& c) {
  for (const auto& b :
       {bound{"number of layers", c.layers, 1024},
        {"hidden size", c.hidden, 1 << 16},
        {"number of attention heads", c.heads, 1024},
        {"number of key-value heads", c.kv_heads, 1024},
        {"head size", c.head_dim, 1024},
        {"number of experts", c.experts, 4096},
        {"number of experts in all layers", uint64_t{c.experts} * c.layers, 1 << 18},
        {"number of experts per token", c.top_k, 64},
        {"width of an expert", c.expert_ff, 1 << 18},
        {"vocabulary", c.vocab, 1 << 22},
        {"context", c.context, 1 << 24}})
    if (b.value == 0 || b.value > b.most)
      return out_of_range(b);
  if (c.shared_gated && (c.shared_ff == 0 || c.shared_ff > 1 << 20))
    return out_of_range({"width of the shared expert", c.shared_ff, 1 << 20});
  if (c.top_k > c.experts)
    return {ec::bad_file, "a token uses " + std::to_string(c.top_k) + " experts of only " +
                              std::to_string(c.experts)};
  if (c.heads % c.kv_heads)
    return {ec::bad_file, "the attention heads do not divide among the key-value heads"};
  if (c.head_dim % 2 || c.rope.dims % 2 || c.rope.dims == 0 || c.rope.dims > c.head_dim)
    return {ec::bad_file, "the head size or its rotated part is odd or out of range"};
  if (!(c.rms_eps > 0 && c.rms_eps < 1))
    return {ec::bad_file, "the epsilon of the norms is not between 0 and 1"};
  if (!(c.rope.base >= 1 && std::isfinite(c.rope.base)) || !(c.rope.scale > 0 && c.rope.scale <= 1))
    return {ec::bad_file, "the rotary base or scale is out of range"};
  return {};
}

} // namespace coel::model
