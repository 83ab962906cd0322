// FETCHER actor: fills one model's mirror from neighbours (see interfaces.hpp, docs/mirror.md).
#pragma once

#include "actors/fetch_goals.hpp"
#include "actors/interfaces.hpp"
#include "actors/meter.hpp"
#include "model/mirror_fetch.hpp"

#include <optional>

namespace coel::actors {

struct fetcher_config {
  std::string model; ///< what it is served as
  model::mirror_ptr mirror;
  perception_actor perception;  ///< knows who has what
  uint32_t chunks_per_peer = 2; ///< asked of one neighbour at once
  /// A chunk is asked for piece by piece, so that no dispatch waits behind a whole one.
  uint32_t piece_bytes = 64 << 10;
  model::fetch_options planning; ///< but for most_outstanding
};

struct fetcher_state {
  static inline const char* name = "fetcher";

  struct peer {
    neighbour_actor link;
    model::chunk_set has;
    std::shared_ptr<const node_record> record; ///< that `has` was read from
    bool up = false;
    fetch_peer_status done;
  };
  /// A chunk on its way from one neighbour.
  struct incoming {
    model::peer_id from{};
    model::chunk_id chunk{};
    std::vector<std::byte> bytes;
  };

  fetcher_config config;
  std::optional<model::fetch_planner> planner;
  fetch_goals goals;
  std::map<fetch_goals::goal_id, caf::typed_response_promise<bool>> experts;
  std::optional<fetch_goals::goal_id> opening; ///< what is fetched so that the model can be opened
  opened_mirror_ptr opened;
  model::source_ptr source;
  std::optional<model::tensor_places> places;
  std::vector<caf::typed_response_promise<opened_mirror_ptr>> waiting; ///< for opened
  std::optional<error> unusable; ///< the files are no model that CoEL opens
  std::map<model::peer_id, peer> peers;
  std::map<uint64_t, incoming> coming;
  uint64_t serials = 0;
  uint64_t done_bytes = 0;
  std::optional<error> trouble;      ///< of the disk
  steady::time_point silent_until{}; ///< nothing is asked before, for that reason
  steady::time_point stored{};       ///< last
  bool unrecorded = false;
  meter cost;
};

/// Hashes and writes: spawn it detached.
fetcher_actor::behavior_type fetcher(fetcher_actor::stateful_pointer<fetcher_state> self,
                                     fetcher_config config);

} // namespace coel::actors
