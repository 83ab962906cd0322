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

struct family {
  std::string_view name;                 ///< GGUF general.architecture
  std::string_view hf_model_type;        ///< config.json model_type
  compute::rope_style gguf_rope;         ///< converters permute q and k for some families
  qk_norm qk;
  bool qkv_bias;
  bool shared_expert;                    ///< with a sigmoid gate of its own
  bool renormalise;                      ///< where the file does not say
  std::string_view hf_experts_key;       ///< config.json: number of experts
  std::string_view hf_expert_ff_key;     ///< config.json: width of an expert
};

std::span<const family> families();
const family* family_of_gguf(std::string_view architecture);
const family* family_of_hf(std::string_view model_type);
/// "qwen2moe, qwen3moe, olmoe, llama (with experts)" for messages.
std::string known_families();

/// Tensor names; an expert's tensors are named by layer and expert.
std::string gguf_tensor_name(role what, uint32_t layer);   ///< experts: the stacked tensor
std::string hf_tensor_name(const family& f, const tensor_key& key);

/// [rows, cols] that the configuration requires of a tensor; nullopt: this family has none.
struct matrix_shape {
  uint64_t rows = 0;
  uint64_t cols = 0;
  bool operator==(const matrix_shape&) const = default;
};
std::optional<matrix_shape> required_shape(const model_config& config, role what);

inline constexpr bool is_expert_role(role r) { return r >= role::expert_gate; }
inline constexpr bool is_layer_role(role r) { return r >= role::attn_norm; }

/// Every tensor that a configuration requires, in file order of layers.
std::vector<tensor_key> required_tensors(const model_config& config);

/// Refuses configurations that cannot be right or would overflow: bad_file, naming the field.
result<void> check(const model_config& config);

} // namespace coel::model
