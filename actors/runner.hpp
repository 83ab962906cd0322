// RUNNER actor: the layer loop (see interfaces.hpp). Knows neither sessions nor whose rows they
// are, so a home's own steps and rows of a neighbour's sessions pass the same code.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"

#include <optional>

namespace coel::actors {

struct runner_config {
  served_model_ptr model;
  std::vector<gate_actor> gates; ///< by layer
};

/// The batch under way.
struct runner_batch {
  layers_work work;
  caf::typed_response_promise<layers_done> promise;
  layers_done report;
  uint32_t layer = 0;
  steady::time_point submitted;  ///< the running layer's attention
  steady::time_point dispatched; ///< the running layer
  bool whole = false;            ///< all of it is one list (whole_step.hpp)
};

struct runner_state {
  static inline const char* name = "runner";

  runner_config config;
  std::optional<runner_batch> current;
  uint64_t batches = 0;
  meter cost;
};

runner_actor::behavior_type runner(runner_actor::stateful_pointer<runner_state> self,
                                   runner_config config);

/// For traces: the work of this node that ends now.
hop hop_here(std::string_view actor, uint32_t layer, steady::time_point step_began,
             uint64_t took_us);

/// For totals and traces: what neighbours did for a layer or for the head, dispatched at that time.
void add_network(network_totals& to, std::vector<hop>& hops, const layer_done& done, uint32_t layer,
                 steady::time_point step_began, steady::time_point dispatched);

} // namespace coel::actors
