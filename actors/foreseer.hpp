// FORESEER actor (see interfaces.hpp): learns from what is chosen and tells what deeper layers will
// need. A token does not wait for it: it is on a thread of its own where the device leaves cores
// free, else the last thing on the device's thread, while the others compute.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/tiering.hpp"
#include "model/deep_routers.hpp"
#include "policy/expert_predictor.hpp"

#include <optional>

namespace coel::actors {

struct foreseer_config {
  served_model_ptr model;
  supplier_actor supplier;
  routers_ptr routers; ///< null: it rests
};

struct foreseer_state {
  static inline const char* name = "foreseer";

  /// A sequence that decodes.
  struct stream {
    policy::route_history history;
    uint32_t next_layer = 0;
    uint64_t seen = 0;           ///< step
    std::vector<float> residual; ///< of the layer just routed; empty: not told
    std::vector<policy::expert_predictor::prediction> open;
  };

  ~foreseer_state(); ///< keeps what it has learnt

  foreseer_config config;
  std::unique_ptr<policy::expert_predictor> predictor;
  std::map<uint64_t, stream> streams; ///< by session
  std::vector<float> gate;            ///< [experts], used again
  uint64_t steps = 0;
  bool learnt = false; ///< since it was kept last
  bool keeping_fails = false;
  meter cost;
};

foreseer_actor::behavior_type foreseer(foreseer_actor::stateful_pointer<foreseer_state> self,
                                       foreseer_config config);

/// Starts one, where it disturbs least; it ends with `parent`.
foreseer_actor start_foreseer(caf::scheduled_actor* parent, foreseer_config config);

/// What an earlier run has learnt; none where there was none, or it is damaged or of another model.
std::optional<policy::expert_predictor> learnt_before(const served_model& m);

} // namespace coel::actors
