// The model families as data. A new family is a new row of the table, if its layers are made of the
// same operations; what a family may vary is model_config.
#pragma once

#include "model/config.hpp"
#include "model/source.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace coel::model {

/// A tensor that a family calls by a name of its own in Hugging Face files; "{}" is the expert.
struct hf_name {
  role what{};
  std::string_view name; ///< after "model.layers.N."
};

struct family {
  std::string_view name;          ///< GGUF general.architecture
  std::string_view hf_model_type; ///< config.json model_type
  /// In Hugging Face files the halves of a head are rotated; converters to GGUF reorder the rows of
  /// q and k for some families.
  compute::rope_style gguf_rope = compute::rope_style::half;
  qk_norm qk = qk_norm::none;
  bool qkv_bias = false;
  bool shared_expert = false;    ///< with a sigmoid gate of its own
  bool renormalise = false;      ///< GGUF: without expert_weights_norm
  bool hf_renormalise = false;   ///< config.json: without norm_topk_prob
  bool ff_of_all_chosen = false; ///< GGUF: feed_forward_length is top_k experts wide, not one
  std::string_view hf_experts_key = "num_experts";
  std::string_view hf_expert_ff_key = "moe_intermediate_size";
  float hf_rms_eps = 1e-6f;     ///< config.json: without rms_norm_eps
  float hf_rope_base = 10000.f; ///< config.json: without rope_theta
  std::span<const hf_name> hf_names = {};
};

std::span<const family> families();
const family* family_of_gguf(std::string_view architecture);
const family* family_of_hf(std::string_view model_type);
/// "qwen2moe (qwen2_moe), ..." for messages: the GGUF name, then the Hugging Face one.
std::string known_families();

/// Tensor names; an expert's tensors are named by layer and expert.
std::string gguf_tensor_name(role what, uint32_t layer); ///< experts: the stacked tensor
std::string gguf_expert_name(const tensor_key& key);     ///< old files: a tensor for each expert
std::string hf_tensor_name(const family& f, const tensor_key& key);

/// [rows, cols] that the configuration requires of a tensor; nullopt: this family has none.
struct matrix_shape {
  uint64_t rows = 0;
  uint64_t cols = 0;
  bool operator==(const matrix_shape&) const = default;
};
std::optional<matrix_shape> required_shape(const model_config& config, role what);

inline constexpr size_t role_count = static_cast<size_t>(role::expert_down) + 1;
inline constexpr bool is_expert_role(role r) {
  return r >= role::expert_gate;
}
inline constexpr bool is_layer_role(role r) {
  return r >= role::attn_norm;
}

/// Every tensor that a configuration requires, in file order of layers.
std::vector<tensor_key> required_tensors(const model_config& config);

/// Refuses configurations that cannot be right or would overflow: bad_file, naming the field.
result<void> check(const model_config& config);

} // namespace coel::model
