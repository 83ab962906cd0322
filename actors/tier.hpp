// TIER actor (see interfaces.hpp): one byte budget of one memory for all models of a node, the
// loaders that bring experts into it, and suppliers of models of which not all fit.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"

#include <algorithm>
#include <array>
#include <deque>

namespace coel::actors {

struct tier_config {
  std::string name = "ram";
  std::string option = "--ram"; ///< of the budget
  compute::device_ptr near_to;  ///< it is this device's own memory; null: the host's
  uint64_t budget_bytes = 0;    ///< 0: no limit
  uint32_t loaders = 2;
  std::array<uint64_t, 3> used_before{}; ///< by memory_kind: what was loaded before the actors
};

struct tier_state {
  static inline const char* name = "tier";

  struct pending_fetch {
    served_model_ptr model;
    expert_key key;
    uint64_t estimate = 0;
    caf::typed_response_promise<lease> promise;
  };

  tier_config config;
  std::array<uint64_t, 3> used{}; ///< by memory_kind
  std::vector<loader_actor> idle;
  std::deque<pending_fetch> queue; ///< bounded by the number of experts
  std::vector<supplier_actor> suppliers;
  struct pool {
    supplier_actor supplier;
    uint64_t bytes = 0;  ///< of the budget
    uint64_t beside = 0; ///< what reading takes of it; 0: the supplier rests
  };
  std::map<const tiering*, pool> pools;
  meter cost;

  uint64_t total() const { return used[0] + used[1] + used[2]; }
  uint64_t free_bytes() const { ///< where there is a limit
    return config.budget_bytes - std::min(config.budget_bytes, total());
  }
};

tier_actor::behavior_type tier(tier_actor::stateful_pointer<tier_state> self, tier_config config);

} // namespace coel::actors
