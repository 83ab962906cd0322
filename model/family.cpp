#include "model/family.hpp"

#include <array>

namespace coel::model {

namespace {

using compute::rope_style;

/// Mixtral's own names in Hugging Face files.
constexpr std::array<hf_name, 4> mixtral_names{{
    {role::router, "block_sparse_moe.gate.weight"},
    {role::expert_gate, "block_sparse_moe.experts.{}.w1.weight"},
    {role::expert_up, "block_sparse_moe.experts.{}.w3.weight"},
    {role::expert_down, "block_sparse_moe.experts.{}.w2.weight"},
}};

constexpr std::array table{
    family{.name = "qwen2moe",
           .hf_model_type = "qwen2_moe",
           .qkv_bias = true,
           .shared_expert = true,
           .ff_of_all_chosen = true},
    family{.name = "qwen3moe",
           .hf_model_type = "qwen3_moe",
           .qk = qk_norm::per_head,
           .renormalise = true,
           .ff_of_all_chosen = true},
    family{.name = "olmoe",
           .hf_model_type = "olmoe",
           .qk = qk_norm::whole,
           .hf_expert_ff_key = "intermediate_size",
           .hf_rms_eps = 1e-5f},
    family{.name = "llama",
           .hf_model_type = "mixtral",
           .gguf_rope = rope_style::interleaved,
           .renormalise = true,
           .hf_renormalise = true,
           .hf_experts_key = "num_local_experts",
           .hf_expert_ff_key = "intermediate_size",
           .hf_rms_eps = 1e-5f,
           .hf_rope_base = 1e6f,
           .hf_names = mixtral_names},
};

struct role_names {
  role what;
  std::string_view gguf; // after "blk.N." for layer roles
  std::string_view hf;   // after "model.layers.N." for layer roles
};

// By value of role.
constexpr std::array<role_names, role_count> names{{
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

static_assert([] {
  for (size_t i = 0; i < names.size(); ++i)
    if (static_cast<size_t>(names[i].what) != i)
      return false;
  return true;
}());

const role_names& names_of(role what) {
  return names[static_cast<size_t>(what)];
}

std::string with_expert(std::string name, expert_id expert) {
  if (auto at = name.find("{}"); at != std::string::npos)
    name.replace(at, 2, to_string(expert));
  return name;
}

} // namespace

std::span<const family> families() {
  return table;
}

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

std::string known_families() {
  std::string list;
  for (const auto& f : table)
    list += (list.empty() ? "" : ", ") + std::string(f.name) + " (" + std::string(f.hf_model_type) +
            ")";
  return list;
}

std::string gguf_tensor_name(role what, uint32_t layer) {
  std::string name(names_of(what).gguf);
  return is_layer_role(what) ? "blk." + std::to_string(layer) + "." + name : name;
}

std::string gguf_expert_name(const tensor_key& key) {
  auto name = gguf_tensor_name(key.what, index(key.layer));
  constexpr std::string_view stacked = "_exps";
  if (auto at = name.find(stacked); at != std::string::npos)
    name.replace(at, stacked.size(), "." + to_string(key.expert));
  return name;
}

std::string hf_tensor_name(const family& f, const tensor_key& key) {
  auto name = names_of(key.what).hf;
  for (const auto& own : f.hf_names)
    if (own.what == key.what)
      name = own.name;
  auto full = with_expert(std::string(name), key.expert);
  return is_layer_role(key.what) ? "model.layers." + to_string(key.layer) + "." + full : full;
}

} // namespace coel::model
