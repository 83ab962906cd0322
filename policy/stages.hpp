// Contiguous layers by node, attention and KV with them: a token visits each stage once, so few
// hops, but no layer is shared out. Predicted beside the hub, for slow links and fast devices.
#pragma once

#include "policy/cost_model.hpp"

namespace coel::policy {

struct stage {
  uint32_t node = 0;
  uint32_t first_layer = 0;
  uint32_t layers = 0;
  bool operator==(const stage&) const = default;
};

struct stage_plan {
  std::vector<stage> stages; ///< in order of layers; the home comes first, maybe with no layer
  double decode_us = 0;      ///< a token: all stages, hops, back to the home, output matrix
  double prompt_us = 0;      ///< slices of it follow each other through the stages
  double hops = 0;           ///< one-way, of a token
  double bytes = 0;          ///< of a token
  std::vector<uint64_t> memory_bytes; ///< [nodes]
};

/// The order of nodes and the cuts with the soonest token: exact dynamic programming over subsets,
/// for the home and the seven other nodes that promise most. Errors: out_of_memory.
result<stage_plan> plan_stages(const cost_model& costs, uint32_t home, uint32_t prompt_tokens,
                               uint32_t slice_rows = 128);

} // namespace coel::policy
