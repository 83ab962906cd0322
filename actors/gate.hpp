// GATE actor: one layer's dispatch (see interfaces.hpp).
//
// Experts are pure functions of their rows, so whatever fails at one node is asked of another; only
// when nobody holds an expert, and it cannot be read here, do its rows wait, for a table that says
// who does.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"

#include <deque>
#include <optional>
#include <set>

namespace coel::actors {

struct gate_config {
  served_model_ptr model;
  layer_id layer{};
  node_id self{}; ///< whose experts are local
  route_view_ptr view;
  std::vector<expert_actor> experts;             ///< by expert_id; may be run here
  std::chrono::milliseconds missing_patience{0}; ///< rows wait so long for a missing expert
  double expert_bias = 0; ///< share of a row's gate probability given up for near experts
};

struct remote_part {
  node_id host{};
  std::vector<uint32_t> rows;       ///< of the batch
  std::vector<expert_rows> experts; ///< to be sent again if the host fails
  std::vector<float> sum;           ///< [rows, hidden] once arrived
};

/// Experts claimed in one go (gate_claims.hpp), for the batch's tasks from `first` on.
struct gate_claim {
  uint64_t step = 0;
  supplier_actor from;
  size_t first = 0;
  std::vector<policy::expert_use> experts; ///< lent in this order
  size_t lent = 0;
  size_t ran = 0;     ///< of these; who lent them knows
  bool heard = false; ///< what else is lent comes later: it is being read
};

/// The batch being dispatched. Local tasks wait for their leases; the device runs them as one
/// list while remote sums are on their way.
struct gate_batch {
  uint64_t number = 0;
  layer_work work;
  caf::typed_response_promise<layer_done> promise;
  std::vector<compute::expert_task> tasks; ///< in the order of their sums
  size_t tasks_run = 0;                    ///< the device had these already
  size_t experts_here = 0;                 ///< of the list that the device has
  size_t rows_here = 0;                    ///< over all of them
  std::vector<expert_rows> homeless;       ///< nobody can run them now
  error last_failure;                      ///< of a host
  std::vector<remote_part> remote;
  std::set<node_id> avoid; ///< failed in this batch
  uint32_t leases_due = 0;
  uint32_t sums_due = 0;
  bool running = false;     ///< the device has the local tasks
  bool added = false;       ///< remote sums are in the residual
  bool waiting = false;     ///< a timer runs for the homeless rows
  bool read_failed = false; ///< nothing more is claimed before others were asked
  std::vector<gate_claim> claims;
  layer_done report;
  steady::time_point began;
  steady::time_point idle_since;  ///< nothing left to do here
  steady::time_point stall_since; ///< nothing to do here before an expert has been read
};

struct gate_state {
  static inline const char* name = "gate";

  gate_config config;
  std::optional<gate_batch> current;
  /// A home's own steps and rows of neighbours' sessions may meet in one layer.
  std::deque<std::pair<layer_work, caf::typed_response_promise<layer_done>>> queue;
  uint64_t batches = 0;
  compute::buffer_ptr arrived; ///< remote sums, [rows, hidden]
  meter cost;
};

gate_actor::behavior_type gate(gate_actor::stateful_pointer<gate_state> self, gate_config config);

} // namespace coel::actors
