// FORESEER actor (see interfaces.hpp): learns from what is chosen and tells what deeper layers will
// need. On a thread of its own: a token does not wait for it.
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
  std::shared_ptr<const model::deep_routers> routers;
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

/// What an earlier run has learnt; none where there was none, or it is damaged or of another model.
std::optional<policy::expert_predictor> learnt_before(const served_model& m);

} // namespace coel::actors
