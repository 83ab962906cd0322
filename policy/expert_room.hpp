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

struct node_memory {
  uint64_t bytes = 0;     ///< for experts of all models
  std::vector<bool> runs; ///< [models]
};

/// Bytes for each model on each node, [nodes][models]: every model is covered if that is possible
/// at all, and what is left is shared in proportion to size, so that all have about as many copies.
/// Where not all can be covered, small models come first: that serves the most. The same on every
/// node that knows the same, whatever it runs itself.
///
/// Starts from each node's memory in proportion and moves what a model lacks along shortest
/// augmenting paths (Ford and Fulkerson, 1956) from models that have more than they need.
std::vector<std::vector<uint64_t>> divide_memory(std::span<const node_memory> nodes,
                                                 std::span<const room_demand> models);

/// Bytes for experts on a node with a card: what its own memory leaves them and what the card's
/// does. No expert lies in both, so the card's part counts in whole experts (of the largest).
uint64_t room_with_card(uint64_t memory_bytes, uint64_t card_bytes, uint64_t expert_bytes);

struct room_share {
  uint64_t space = 0; ///< experts that fit
  uint64_t room = 0; ///< of those, for the plan: the rest takes an expert that comes before another
                     ///< may go, since where every node is full of what the others wait for,
                     ///< nothing could move
};
room_share room_in(uint64_t bytes, uint64_t expert_bytes);

} // namespace coel::policy
