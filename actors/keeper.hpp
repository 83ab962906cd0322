// KEEPER actor (see interfaces.hpp): carries out what policy/near_residency orders.
#pragma once

#include "actors/meter.hpp"
#include "actors/near_memory.hpp"
#include "policy/near_residency.hpp"

#include <optional>

namespace coel::actors {

struct keeper_config {
  served_model_ptr model;
  std::vector<expert_actor> experts; ///< by layer, then expert_id, shared slices included
  double share = 1;                  ///< of the routed experts' bytes, at the most
  std::chrono::milliseconds period{250};
  policy::residency_limits limits;
};

struct keeper_state {
  static inline const char* name = "keeper";

  keeper_config config;
  std::unique_ptr<policy::near_residency> residency;
  uint64_t most_bytes = 0;    ///< of experts there
  std::vector<uint64_t> seen; ///< rows, at the last look
  uint32_t due = 0;           ///< moves under way
  bool ticking = false;
  bool all_may_come = false; ///< while it is filled, wherever they are
  std::optional<caf::typed_response_promise<uint64_t>> filled;
  meter cost;
};

keeper_actor::behavior_type keeper(keeper_actor::stateful_pointer<keeper_state> self,
                                   keeper_config config);

} // namespace coel::actors
