// PLACER actor: makes plans (policy/planner) where their seconds keep nobody waiting: on a thread
// of its own (see interfaces.hpp).
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"

namespace coel::actors {

struct placer_state {
  static inline const char* name = "placer";
  meter cost;
};

placer_actor::behavior_type placer(placer_actor::stateful_pointer<placer_state> self);

} // namespace coel::actors
