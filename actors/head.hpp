// HEAD actor: the logits of a step (see interfaces.hpp).
//
// The output matrix is a sixth of what decoding one token of a small model reads, and every home of
// a model holds it, so its columns can be computed by whichever nodes are there. What a neighbour
// fails to answer is computed here.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"

#include <optional>

namespace coel::actors {

struct head_config {
  served_model_ptr model;
  node_id self{};
  route_view_ptr view;
};

struct head_columns {
  uint32_t first = 0;
  uint32_t end = 0;
};

struct head_batch {
  head_work work;
  caf::typed_response_promise<layer_done> promise;
  std::vector<head_columns> todo; ///< still to be computed here
  uint32_t columns_here = 0;      ///< of what the device runs now; 0: the norm
  uint32_t sums_due = 0;
  bool running = false;
  layer_done report;
  steady::time_point began;
  steady::time_point idle_since; ///< nothing left to do here
};

struct head_state {
  static inline const char* name = "head";

  head_config config;
  std::optional<head_batch> current;
  meter cost;
};

head_actor::behavior_type head(head_actor::stateful_pointer<head_state> self, head_config config);

} // namespace coel::actors
