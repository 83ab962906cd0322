// What a node does with a model whose experts do not all fit its memory: shared by tier, gates and
// experts.
#pragma once

#include "actors/served_model.hpp"
#include "model/disk_reader.hpp"
#include "model/expert_files.hpp"
#include "policy/memory_budget.hpp"

namespace coel::actors {

/// The same for all actors of the model; does not change once they run.
struct tiering {
  policy::memory_plan plan;
  model::expert_files files;
  std::filesystem::path state_file; ///< of the predictor; empty: it is not kept
  caf::strong_actor_ptr tier;       ///< whose memory it is
};

/// A layer of a step was routed: what the tier learns from, and what it will be asked for next.
struct layer_routed {
  served_model_ptr model;
  layer_id layer{};
  uint32_t rows = 0;
  std::vector<int32_t> ids;         ///< [rows, top_k]
  std::vector<request_id> sessions; ///< of the rows; empty: too many rows to tell apart
};

/// The part of a tier that schedulers use.
using layer_listener = caf::typed_actor<caf::reacts_to<layer_routed>>;

} // namespace coel::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::layer_routed)
