// COPY MAKER actor (see interfaces.hpp): keeps copies of fewer bits of the experts that are missed
// most, one made at a time, read behind everything else. On a thread of its own.
#pragma once

#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "actors/tiering.hpp"
#include "policy/near_residency.hpp"

#include <chrono>

namespace coel::actors {

struct copy_maker_config {
  served_model_ptr model;
  std::shared_ptr<model::disk_reader> reader;
  std::vector<float> missed_before; ///< [layers, experts], a token: of an earlier run; or empty
};

struct copy_maker_state {
  static inline const char* name = "copy maker";

  /// The copy that is being made.
  struct making {
    policy::residency_move move;
    uint64_t number = 0;
    std::vector<model::file_piece> pieces;
    std::vector<compute::weight_ptr> made;
    std::shared_ptr<std::byte> memory; ///< read into
    steady::time_point since;
  };

  copy_maker_config config;
  std::unique_ptr<policy::near_residency> wanted;
  std::vector<uint64_t> seen; ///< misses, [layers, experts]
  uint64_t seen_tokens = 0;
  std::optional<making> now;
  uint64_t numbers = 0;
  meter cost;
};

copy_maker_actor::behavior_type
copy_maker(copy_maker_actor::stateful_pointer<copy_maker_state> self, copy_maker_config config);

} // namespace coel::actors
