// INSPECTOR actor: asks the others and answers with documents (see interfaces.hpp).
#pragma once

#include "actors/hosted_models.hpp"
#include "actors/inspect_json.hpp"
#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "net/link_receiver.hpp"

namespace coel::actors {

/// A node's part in a cluster.
struct inspected_cluster {
  cluster_facts facts; ///< what does not change
  std::weak_ptr<const perception_loop> hello;
  std::weak_ptr<const net::link_receiver> receiver;
  perception_actor perception;
  updater_actor updater;
};

struct inspector_config {
  node_facts facts; ///< what does not change
  hosted_models_ptr models;
  std::vector<tier_actor> tiers;
  steady::time_point started;
  std::optional<inspected_cluster> cluster; ///< none: the node stands alone
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
