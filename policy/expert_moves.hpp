// A node's next steps towards its plan: what to load, in which order, and what may go for it.
// Experts of one model are told by their index, layer * experts_per_layer + expert.
#pragma once

#include "common/node_record.hpp"

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

namespace coel::policy {

using expert_test = std::function<bool(size_t expert)>;

/// Popularity of experts beyond its size is 0. Equal ones stay in their order.
std::vector<size_t> by_popularity(std::vector<size_t> experts,
                                  const std::vector<double>& popularity, bool rising);

/// Planned and neither held nor on their way; rising.
std::vector<size_t> wanted(const bitmap& plan, const bitmap& holds,
                           const std::set<size_t>& loading);

/// What is on disk first, as the rest may have to wait for neighbours; then what nobody holds, then
/// what is used most.
std::vector<size_t> in_order_of_need(std::vector<size_t> wanted,
                                     const std::vector<double>& popularity,
                                     const expert_test& on_disk, const expert_test& held_elsewhere);

struct retirement_problem {
  const bitmap& holds;    ///< those that retire included
  const bitmap& plan;     ///< what stays
  const bitmap& retiring; ///< no longer counted
  const std::vector<double>& popularity;
  uint64_t room = 0;   ///< experts
  uint64_t coming = 0; ///< that need a place
};

/// Held experts that go next, the least used first: no more than must, and only of those that the
/// plan gives to others and `kept_elsewhere`, so that none is lost.
std::vector<size_t> to_retire(const retirement_problem& p, const expert_test& kept_elsewhere);

} // namespace coel::policy
