// SCHEDULER actor: the running batch of one model (see interfaces.hpp).
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"
#include "policy/admission.hpp"
#include "policy/batching.hpp"
#include "policy/kv_pages.hpp"
#include "policy/routing_stats.hpp"

#include <deque>
#include <optional>

namespace coel::actors {

struct scheduler_config {
  served_model_ptr model;
  std::vector<gate_actor> gates; ///< by layer
  head_actor head;
  step_memory_ptr memory;
  policy::batching_limits batching;
  policy::admission_limits admission;
  recorder_actor recorder; ///< null: routing is not recorded
};

/// The step in flight.
struct scheduler_step {
  std::vector<policy::batch_share> shares;
  steady::time_point submitted;    ///< the running layer's attention
  steady::time_point dispatched;   ///< the running layer
  std::vector<uint32_t> first_row; ///< by share
  std::vector<compute::segment> segments;
  std::vector<uint32_t> logit_rows;
  uint32_t rows = 0;
  uint32_t layer = 0;
  uint32_t rounds = 0; ///< layers that needed a neighbour
  uint32_t answers_due = 0;
  steady::time_point began;
  std::vector<hop> hops;
};

struct scheduler_state {
  static inline const char* name = "scheduler";

  /// A session with its KV pages. `tokens` are those not yet fed.
  struct running {
    request_id id{};
    session_actor actor;
    std::vector<int32_t> tokens;
    std::vector<uint32_t> pages;
    uint32_t prompt_tokens = 0;
    uint32_t position = 0; ///< tokens fed
    uint32_t slices = 0;
    bool every_row = false;
    bool leaving = false;
    std::shared_ptr<session_probe> probe; ///< collects the routing of its first tokens
    steady::time_point began;
    std::deque<token_trace> traces; ///< of the last steps
  };

  struct waiting {
    admission ask;
    session_actor actor;
    steady::time_point since;
  };

  scheduler_config config;
  std::optional<policy::kv_pages> pages;
  std::optional<policy::routing_stats> stats;
  std::vector<running> sessions; ///< in order of admission
  std::deque<waiting> queue;
  std::optional<scheduler_step> current;
  std::deque<std::pair<request_id, std::vector<token_trace>>>
      ended; ///< traces of the last requests
  uint64_t steps = 0;
  uint64_t tokens_in = 0;
  uint64_t tokens_out = 0;
  network_totals network;
  meter cost;
};

scheduler_actor::behavior_type scheduler(scheduler_actor::stateful_pointer<scheduler_state> self,
                                         scheduler_config config);

} // namespace coel::actors
