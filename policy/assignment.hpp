// Which nodes should hold which experts of one model: every expert somewhere, then replicas of the
// popular ones for as long as there is room. A pure function of what every node has announced, so
// nodes that know the same come to the same plan without a vote.
//
// Coverage is rendezvous hashing (Thaler and Ravishankar, 1998) with bounded loads: each expert
// goes to the node with the highest score that has room, so a node that joins or leaves moves
// little more than its own share.
//
// An earlier plan (a planner's, see policy/planner) is kept as far as its nodes are there and have
// the room; only what it leaves open is placed so.
#pragma once

#include "common/ids.hpp"
#include "common/node_record.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace coel::policy {

/// A node's room for the experts of one model.
struct holder {
  std::string key;   ///< identity: what is hashed
  uint64_t room = 0; ///< experts that fit
  bool operator==(const holder&) const = default;
};

struct assignment {
  /// [holders][layers * experts]: should hold.
  std::vector<bitmap> plan;
  /// Experts for which no node has room, rising.
  std::vector<expert_key> uncovered;
};

struct assignment_problem {
  uint32_t layers = 0;
  uint32_t experts = 0;            ///< per layer, slices of the shared expert included
  std::span<const holder> holders; ///< in any order: the result does not depend on it
  /// Activations per token by expert, [layers * experts], or empty: all equal. A slice of the
  /// shared expert is used by every token.
  std::span<const double> popularity;
  /// What each is to hold by an earlier plan, [holders], or empty: none.
  std::span<const bitmap> base{};
  /// Slices of the shared expert, the last of each layer: placed before all else, as no home reads
  /// them where nobody has them.
  uint32_t slices = 0;
};

assignment assign(const assignment_problem& problem);

} // namespace coel::policy
