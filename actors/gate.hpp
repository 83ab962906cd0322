// GATE actor: one layer's dispatch (see interfaces.hpp).
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"
#include "policy/routing_table.hpp"

#include <optional>

namespace coel::actors {

struct gate_config {
  served_model_ptr model;
  layer_id layer{};
  node_id self{};                                        ///< whose experts are local
  std::shared_ptr<const policy::routing_table> table;
  std::vector<expert_actor> experts;                     ///< by expert_id; hosted here
  std::map<node_id, link_actor> links;
  std::chrono::milliseconds link_timeout{2000};
};

struct gate_state {
  static inline const char* name = "gate";

  /// The batch being dispatched. Local tasks wait for their leases; the device runs them as one list
  /// while remote sums are on their way.
  struct batch {
    layer_work work;
    caf::typed_response_promise<layer_done> promise;
    std::vector<compute::expert_task> tasks;             ///< in order of expert
    std::vector<std::vector<float>> sums;                ///< of other nodes, [rows, hidden]
    uint32_t leases_due = 0;
    uint32_t sums_due = 0;
    bool running = false;                                ///< the device has the local tasks
    layer_done report;
    steady::time_point began;
  };

  gate_config config;
  std::optional<batch> current;
  compute::buffer_ptr arrived;                           ///< remote sums, [rows, hidden]
  meter cost;
};

gate_actor::behavior_type gate(gate_actor::stateful_pointer<gate_state> self, gate_config config);

} // namespace coel::actors
