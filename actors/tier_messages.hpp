// What a tier is told of a model whose experts do not all fit (see tiering.hpp). Kept apart from
// what it does with it, which few need to know.
#pragma once

#include "actors/messages.hpp"

namespace coel::model {
struct staged_read;
}

namespace coel::actors {

/// A layer of a step was routed: what the tier learns from, and what it will be asked for next.
struct layer_routed {
  std::shared_ptr<const served_model> model;
  layer_id layer{};
  uint32_t rows = 0;
  std::vector<int32_t> ids;         ///< [rows, top_k]
  std::vector<request_id> sessions; ///< of the rows; empty: too many rows to tell apart
  std::vector<float> residual; ///< [rows, hidden] before the experts; empty: too many rows to tell
};

/// INTERNAL to a tier: what a reader brought.
struct expert_arrived {
  std::string model;
  expert_key key;
  uint64_t job = 0;
  std::shared_ptr<result<model::staged_read>> got;
};

/// INTERNAL to a tier: bytes of an expert, to be brought into the device's layout.
struct expert_packing {
  std::shared_ptr<const served_model> model;
  expert_key key;
  std::shared_ptr<model::staged_read> staged;
  uint64_t bytes = 0; ///< taken from the budget for it
};

/// The part of a tier that schedulers use.
using layer_listener = caf::typed_actor<caf::reacts_to<layer_routed>>;

} // namespace coel::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::layer_routed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::expert_arrived)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::expert_packing)
