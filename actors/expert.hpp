// EXPERT actor: grants the right to run one expert (see interfaces.hpp).
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/served_model.hpp"

namespace coel::actors {

struct expert_config {
  served_model_ptr model;
  expert_key key;
  dtype type = dtype::f32;
  tier_actor home; ///< the tier that brings it and whose budget it uses
};

struct expert_state {
  static inline const char* name = "expert";
  expert_config config;
  lease held;          ///< empty while absent
  bool near = false;   ///< it lies in the device's own memory
  bool moving = false; ///< there, or back
  bool left = false;   ///< sent away while it moved
  bool loading = false;
  bool urgent = false; ///< nothing can make the load any faster
  std::vector<caf::typed_response_promise<lease>> waiting;
  uint64_t rows = 0;
  meter cost;
};

expert_actor::behavior_type expert(expert_actor::stateful_pointer<expert_state> self,
                                   expert_config config);

} // namespace coel::actors
