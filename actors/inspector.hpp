// INSPECTOR actor: asks the others and answers with documents (see interfaces.hpp).
#pragma once

#include "actors/inspect_json.hpp"
#include "actors/interfaces.hpp"
#include "actors/meter.hpp"

namespace coel::actors {

struct inspected_model {
  served_model_ptr model;
  scheduler_actor scheduler;
  std::vector<gate_actor> gates;
  uint64_t bytes = 0;
};

struct inspector_config {
  node_facts facts; ///< what does not change
  std::vector<inspected_model> models;
  std::vector<tier_actor> tiers;
  steady::time_point started;
};

struct inspector_state {
  static inline const char* name = "inspector";
  inspector_config config;
  caf::weak_actor_ptr socket; ///< weak: it holds the inspector
  meter cost;
};

inspector_actor::behavior_type inspector(inspector_actor::stateful_pointer<inspector_state> self,
                                         inspector_config config);

} // namespace coel::actors
