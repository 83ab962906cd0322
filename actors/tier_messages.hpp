// What goes between schedulers, gates and those who keep a model of which not all experts fit (see
// interfaces.hpp). Kept apart from what they do with it, which few need to know.
#pragma once

#include "actors/messages.hpp"
#include "policy/cache_value.hpp"

#include <optional>

namespace coel::model {
struct staged_read;
class deep_routers;
} // namespace coel::model
namespace coel::compute {
class weight;
}

namespace coel::actors {

/// A layer of a step was routed: what a predictor learns from.
struct layer_routed {
  layer_id layer{};
  uint32_t rows = 0;
  std::vector<int32_t> ids;         ///< [rows, top_k]
  std::vector<request_id> sessions; ///< of the rows
  std::vector<float> residual; ///< [rows, hidden] before the experts; empty: too many rows to tell
};

/// What a predictor expects of a layer's next turn.
struct layer_forecast {
  layer_id layer{};
  uint32_t ahead = 0;             ///< layers from the one just routed: 1 to 3
  std::vector<float> probability; ///< [experts], of a use by any row
};

/// A layer step is going to run these, in this order; answered by experts_lent again and again.
struct expert_claim {
  uint64_t step = 0; ///< of tiering::next_step
  layer_id layer{};
  uint32_t rows = 0;
  std::vector<policy::expert_use> experts;
};

/// The first answer comes at once, with those that are in memory, up to the first that is not.
struct experts_lent {
  uint64_t step = 0;
  std::vector<lease> next;      ///< in the claim's order
  std::optional<error> failure; ///< the claim is over
};

/// What the step has run since it told last.
struct experts_ran {
  uint64_t step = 0;
  uint32_t count = 0;
  bool over = false;     ///< it wants no more, whatever it has claimed
  uint64_t stall_us = 0; ///< if over: it had nothing to do but wait
};

/// How much a pool has from now on, and what it may read before somebody waits for it.
struct pool_order {
  std::shared_ptr<const served_model> model; ///< `tiered` is the pool's
  uint64_t bytes = 0;                        ///< for experts; 0: it is of no use at present
  std::vector<expert_key> left;              ///< that no node is to hold, most used first
};

/// INTERNAL to a supplier, and to a copy maker: a matrix of an expert, as the reader brought it.
struct piece_arrived {
  uint64_t job = 0;
  uint32_t piece = 0;
  std::shared_ptr<result<model::staged_read>> got;
};

/// INTERNAL to a supplier: a matrix of an expert, to be brought into the device's layout.
struct piece_packing {
  std::shared_ptr<const served_model> model;
  expert_key key;
  uint32_t piece = 0;
  std::shared_ptr<const model::staged_read> staged;
};
struct packed_piece {
  std::shared_ptr<const compute::weight> matrix;
};

/// Of a predictor, by layer: see layer_tiering.
struct predictor_status {
  uint64_t busy_us = 0; ///< predicting and learning took
  std::vector<std::vector<double>> recall;
  std::vector<double> recall_of_popular;
};

using routers_ptr = std::shared_ptr<const model::deep_routers>;

/// The part of a gate that a supplier uses.
using lease_listener = caf::typed_actor<caf::reacts_to<experts_lent>>;

} // namespace coel::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::layer_routed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::layer_forecast)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::expert_claim)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::experts_lent)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::experts_ran)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::pool_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::piece_arrived)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::piece_packing)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::packed_piece)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::predictor_status)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(coel::actors::routers_ptr)
