#include "model/family.hpp"

#include <array>
#include <cmath>

namespace coel::model {

namespace {

using compute::rope_style;

constexpr std::array<family, 4> table{{
    {"qwen2moe", "qwen2_moe", rope_style::half, qk_norm::none, true, true, false, "num_experts",
     "moe_intermediate_size"},
    {"qwen3moe", "qwen3_moe", rope_style::half, qk_norm::per_head, false, false, true, "num_experts",
     "moe_intermediate_size"},
    {"olmoe", "olmoe", rope_style::half, qk_norm::whole, false, false, false, "num_experts",
     "intermediate_size"},
    {"llama", "mixtral", rope_style::interleaved, qk_norm::none, false, false, true,
     "num_local_experts", "intermediate_size"},
}};

struct role_names {
  role what;
  std::string_view gguf;     // after "blk.N." for layer roles
  std::string_view hf;       // after "model.layers.N." for layer roles
};

constexpr std::array<role_names, 22> names{{
    {role::token_embedding, "token_embd.weight", "model.embed_tokens.weight"},
    {role::output_norm, "output_norm.weight", "model.norm.weight"},
    {role::output, "output.weight", "lm_head.weight"},
    {role::attn_norm, "attn_norm.weight", "input_layernorm.weight"},
    {role::attn_q, "attn_q.weight", "self_attn.q_proj.weight"},
    {role::attn_k, "attn_k.weight", "self_attn.k_proj.weight"},
    {role::attn_v, "attn_v.weight", "self_attn.v_proj.weight"},
    {role::attn_q_bias, "attn_q.bias", "self_attn.q_proj.bias"},
    {role::attn_k_bias, "attn_k.bias", "self_attn.k_proj.bias"},
    {role::attn_v_bias, "attn_v.bias", "self_attn.v_proj.bias"},
    {role::attn_output, "attn_output.weight", "self_attn.o_proj.weight"},
    {role::attn_q_norm, "attn_q_norm.weight", "self_attn.q_norm.weight"},
    {role::attn_k_norm, "attn_k_norm.weight", "self_attn.k_norm.weight"},
    {role::ffn_norm, "ffn_norm.weight", "post_attention_layernorm.weight"},
    {role::router, "ffn_gate_inp.weight", "mlp.gate.weight"},
    {role::shared_router, "ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"},
    {role::shared_gate, "ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"},
    {role::shared_up, "ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"},
    {role::shared_down, "ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"},
    {role::expert_gate, "ffn_gate_exps.weight", "mlp.experts.{}.gate_proj.weight"},
    {role::expert_up, "ffn_up_exps.weight", "mlp.experts.{}.up_proj.weight"},
    {role::expert_down, "ffn_down_exps.weight", "mlp.experts.{}.down_proj.weight"},
}};

/// Mixtral's own names in Hugging Face files.
constexpr std::array<role_names, 4> mixtral_names{{
    {role::router, "", "block_sparse_moe.gate.weight"},
    {role::expert_gate, "", "block_sparse_moe.experts.{}.w1.weight"},
    {role::expert_up, "", "block_sparse_moe.experts.{}.w3.weight"},
    {role::expert_down, "", "block_sparse_moe.experts.{}.w2.weight"},
}};

template <size_t N>
const role_names* find(const std::array<role_names, N>& in, role what) {
  for (const auto& n : in)
    if (n.what == what)
      return &n;
  return nullptr;
}

} // namespace

std::span<const family> families() { return table; }

const family* family_of_gguf(std::string_view architecture) {
  for (const auto& f : table)
    if (f.name == architecture)
      return &f;
  return nullptr;
}

const family* family_of_hf(std::string_view model_type) {
  for (const auto& f : table)
    if (f.hf_model_type == model_type)
      return &f;
  return nullptr;
}

std::string known_families() { return "qwen2moe, qwen3moe, olmoe and llama with experts (Mixtral)"; }

std::string gguf_tensor_name(role what, uint32_t layer) {
  std::string name(find(names, what)->gguf);
  return is_layer_role(what) ? "blk." + std::to_string(layer) + "." + name : name;
}

std::string hf_tensor_name(const family& f, const tensor_key& key) {
  const auto* own = f.hf_model_type == "mixtral" ? find(mixtral_names, key.what) : nullptr;
  std::string name((own ? own : find(names, key.what))->hf);
  if (auto at = name.find("{}"); at != std::string::npos)
    name.replace(at, 2, to_string(key.expert));
  return is_layer_role(key.what) ? "model.layers." + to_string(key.layer) + "." + name : name;
}

std::optional<matrix_shape> required_shape(const model_config& c, role what) {
  uint64_t h = c.hidden, q = uint64_t{c.heads} * c.head_dim, kv = uint64_t{c.kv_heads} * c.head_dim;
  bool whole = c.qk == qk_norm::whole;
  auto only_if = [](bool has, matrix_shape s) { return has ? std::optional(s) : std::nullopt; };
  switch (what) {
    case role::token_embedding: return matrix_shape{c.vocab, h};
    case role::output: return only_if(!c.tied_output, {c.vocab, h});
    case role::output_norm: case role::attn_norm: case role::ffn_norm: return matrix_shape{1, h};
    case role::attn_q: return matrix_shape{q, h};
    case role::attn_k: case role::attn_v: return matrix_shape{kv, h};
    case role::attn_q_bias: return only_if(c.qkv_bias, {1, q});
    case role::attn_k_bias: case role::attn_v_bias: return only_if(c.qkv_bias, {1, kv});
    case role::attn_output: return matrix_shape{h, q};
    case role::attn_q_norm: return only_if(c.qk != qk_norm::none, {1, whole ? q : c.head_dim});
    case role::attn_k_norm: return only_if(c.qk != qk_norm::none, {1, whole ? kv : c.head_dim});
    case role::router: return matrix_shape{c.experts, h};
    case role::shared_router: return only_if(c.shared_gated, {1, h});
    case role::shared_gate: case role::shared_up: return only_if(c.shared_ff, {c.shared_ff, h});
    case role::shared_down: return only_if(c.shared_ff, {h, c.shared_ff});
    case role::expert_gate: case role::expert_up: return matrix_shape{c.expert_ff, h};
    case role::expert_down: return matrix_shape{h, c.expert_ff};
  }
  return std::nullopt;
}

std::vector<tensor_key> required_tensors(const model_config& c) {
  std::vector<tensor_key> keys;
  for (const auto& n : names)
    if (!is_layer_role(n.what) && required_shape(c, n.what))
      keys.push_back({n.what, {}, {}});
  for (uint32_t l = 0; l < c.layers; ++l)
    for (const auto& n : names) {
      if (!is_layer_role(n.what) || !required_shape(c, n.what))
        continue;
      for (uint32_t e = 0; e < (is_expert_role(n.what) ? c.experts : 1); ++e)
        keys.push_back({n.what, static_cast<layer_id>(l), static_cast<expert_id>(e)});
    }
  return keys;
}

result<void> check(const model_config& c) {
  struct bound { const char* field; uint64_t value, most; };
  for (auto [field, value, most] : {bound{"layers", c.layers, 1024}, {"hidden size", c.hidden, 1 << 16},
                                    {"attention heads", c.heads, 1024}, {"key-value heads", c.kv_heads, 1024},
                                    {"head size", c.head_dim, 1024}, {"experts", c.experts, 4096},
                                    {"experts per token", c.top_k, 64}, {"expert width", c.expert_ff, 1 << 18},
                                    {"vocabulary", c.vocab, 1 << 22}, {"context", c.context, 1 << 24}})
    if (value == 0 || value > most)
      return {ec::bad_file, std::string(field) + " is " + std::to_string(value) +
                                "; it must be between 1 and " + std::to_string(most)};
  if (c.top_k > c.experts)
    return {ec::bad_file, "a token uses " + std::to_string(c.top_k) + " of only " +
                              std::to_string(c.experts) + " experts"};
  if (c.heads % c.kv_heads)
    return {ec::bad_file, "the attention heads do not divide into key-value heads"};
  if (c.head_dim % 2 || c.rope.dims % 2 || c.rope.dims == 0 || c.rope.dims > c.head_dim)
    return {ec::bad_file, "head size or rotary dimensions are odd or out of range"};
  if (c.shared_ff > 1 << 20)
    return {ec::bad_file, "the shared expert's width is out of range"};
  if (!(c.rms_eps > 0 && c.rms_eps < 1) || !(c.rope.base >= 1 && std::isfinite(c.rope.base)) ||
      !(c.rope.scale > 0 && c.rope.scale <= 1))
    return {ec::bad_file, "norm epsilon or rotary base or scale is out of range"};
  return {};
}

} // namespace coel::model
