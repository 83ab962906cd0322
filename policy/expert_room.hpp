// How many experts a node can hold of each of its models.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace coel::policy {

/// A model's demand on memory.
struct room_demand {
  uint64_t expert_bytes = 0; ///< of the largest; at least 1
  uint64_t experts = 0;      ///< of the whole model; at least 1
};

struct room_share {
  uint64_t space = 0; ///< experts that fit
  uint64_t room = 0; ///< of those, for the plan: the rest takes an expert that comes before another
                     ///< may go, since where every node is full of what the others wait for,
                     ///< nothing could move
};

/// Free memory, shared by the models in proportion to the size of all their experts; in the order
/// of the demands.
std::vector<room_share> share_room(uint64_t free_bytes, std::span<const room_demand> models);

} // namespace coel::policy
