// A LAN of homes and replicas whose speed and links change, to compare ways of choosing a replica:
// the production policy (replica_choice) beside simpler ones and one that knows everything. An
// event simulation in ms, the same for every policy of one seed. POLICY P4.1 and P10.
#pragma once

#include "policy/replica_rule.hpp"

namespace coel::policy {

struct replica_lan {
  uint64_t seed = 1;
  double seconds = 60;
  double rate = 100; ///< dispatches per second and home
  uint32_t homes = 3;
  uint32_t replicas = 4; ///< up to 8
};

struct replica_latency {
  double mean_ms = 0;
  double p95_ms = 0;
  uint64_t dispatches = 0;
};

replica_latency simulate_replicas(replica_rule rule, const replica_lan& lan);

} // namespace coel::policy
