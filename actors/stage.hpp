// STAGE actor: runs contiguous layers of neighbours' sessions here, attention and KV with them (see
// interfaces.hpp). Rows go on to the next stage directly, the last one answers the home.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"
#include "policy/stage_book.hpp"

#include <deque>
#include <optional>

namespace coel::actors {

struct stage_config {
  served_model_ptr model;
  runner_actor runner;
  scheduler_actor scheduler; ///< owns the KV pages
  step_memory_ptr memory;
  uint32_t context = 0;
  uint32_t page_tokens = 32;
  uint32_t pages = 0;       ///< of this node
  uint32_t max_queue = 256; ///< runs that wait
  policy::stage_book::limits limits{};
  route_view_ptr view;
};

struct stage_state {
  static inline const char* name = "stage";

  struct job {
    node_id home{};
    stage_run run;
    steady::time_point came{}, began{};
  };

  stage_config config;
  std::optional<policy::stage_book> book;
  std::optional<job> current;
  std::deque<job> queue;
  stage_status counts;
  meter cost;
};

stage_actor::behavior_type stage(stage_actor::stateful_pointer<stage_state> self,
                                 stage_config config);

} // namespace coel::actors
