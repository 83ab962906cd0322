// What a Mixture-of-Experts model is, as data: every family that CoEL runs is a value of this
// struct, and the layer graph (graph.hpp) reads nothing else.
#pragma once

#include "compute/ops.hpp"

#include <cstdint>
#include <string>

namespace coel::model {

enum class qk_norm : uint8_t {
  none,
  per_head, ///< RMSNorm over each head of q and k (qwen3moe)
  whole,    ///< RMSNorm over the whole projection (olmoe)
};

struct model_config {
  std::string family; ///< "qwen2moe", "qwen3moe", "olmoe", "llama"
  std::string name;   ///< from the file, or the file's stem
  uint32_t layers = 0;
  uint32_t hidden = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t experts = 0; ///< routed experts of a layer
  uint32_t top_k = 0;
  uint32_t expert_ff = 0; ///< width of a routed expert
  uint32_t shared_ff = 0; ///< width of the shared expert; 0: there is none
  uint32_t vocab = 0;
  uint32_t context = 0; ///< tokens the model was made for
  float rms_eps = 1e-6f;
  compute::rope_params rope;
  qk_norm qk = qk_norm::none;
  bool qkv_bias = false;
  bool renormalise = false;  ///< chosen experts' weights sum to 1
  bool shared_gated = false; ///< the shared expert has a sigmoid gate of its own
  bool tied_output = false;  ///< the output matrix is the embedding

  /// The shared expert is cut along its width into this many experts of equal width, which add up
  /// to it exactly; they follow the routed ones in expert_id. As wide as a routed expert if that
  /// divides evenly into whole quantisation blocks, else one.
  uint32_t shared_slices(uint32_t block_elements) const {
    if (shared_ff == 0)
      return 0;
    return expert_ff != 0 && shared_ff % expert_ff == 0 && expert_ff % block_elements == 0
               ? shared_ff / expert_ff
               : 1;
  }
};

} // namespace coel::model
