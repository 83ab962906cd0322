// A cluster whose memory together does not hold a model runs it all the same: every home that has
// the model's files keeps a part of its room, its pool, and reads there what no node holds. The
// rest of all rooms is planned as ever, over the experts that are used most.
#pragma once

#include "policy/expert_room.hpp"

namespace coel::policy {

struct pool_member {
  uint64_t bytes = 0; ///< for experts of the model, as divide_memory gives them
  bool reads = false; ///< a home that has the model's files
};

/// Where nobody knows better: plans have most of the memory, as an expert that is held is run at
/// once and by all nodes; with a quarter a step's reads seldom wait for room.
inline constexpr double usual_pool_share = 0.25;

struct pool_rule {
  double share = usual_pool_share; ///< of a reader's room
  uint64_t least_bytes = 0;        ///< such that a step's reads do not wait for each other
  uint64_t beside_bytes = 0;       ///< that reading takes on this node at any size of its pool
};

/// Bytes of each member's pool. All 0 where the members' rooms, as plans count them, cover the
/// model, or where nobody reads; 0 too where not one expert has room beside what reading takes.
/// Whether there are any does not depend on which are there already: what reading takes counts
/// against the pools alone. The same on every node that knows the same.
std::vector<uint64_t> pools_of(std::span<const pool_member> members, const room_demand& model,
                               const pool_rule& rule);

/// Of activations of what is left to the disks, how many a pool does not have in memory, by usual
/// routing.
double read_share(uint64_t pool_bytes, uint64_t left_bytes);

} // namespace coel::policy
