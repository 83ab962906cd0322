// HELPER actor: runs neighbours' rows through the experts of one model here (see interfaces.hpp).
// Stateless between dispatches: the same rows may come again, from anybody.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"

namespace coel::actors {

struct helper_config {
  served_model_ptr model;
  node_id self{};
  std::vector<expert_actor> experts; ///< by layer, then expert_id
  uint32_t max_in_flight = 32;       ///< dispatches; more are refused with busy
  uint32_t max_rows = 4096;          ///< of one dispatch
  uint32_t max_output_rows = 64;     ///< of one part of the output matrix
};

struct helper_state {
  static inline const char* name = "helper";

  struct job {
    uint64_t number = 0;
    caf::typed_response_promise<partial_sum> promise;
    compute::buffer_ptr in, out; ///< [rows, hidden]; out of a job for columns: [rows, vocab]
    uint32_t rows = 0;
    uint32_t first = 0, end = 0; ///< columns of the output matrix, if end is not 0
    size_t expert_rows = 0;      ///< over all experts
    std::vector<compute::expert_task> tasks{};
    uint32_t leases_due = 0;
    result<void> outcome{};
    steady::time_point arrived{};
  };

  helper_config config;
  std::map<uint64_t, job> jobs;
  std::vector<compute::buffer_ptr> spare; ///< buffers of jobs that are done
  uint64_t next = 0;
  uint64_t dispatches = 0;
  uint64_t refused = 0;
  meter cost;
};

helper_actor::behavior_type helper(helper_actor::stateful_pointer<helper_state> self,
                                   helper_config config);

} // namespace coel::actors
