// Polishes a placement by moves on the true objective: an expert leaves a node for another one that
// takes its room. As much is covered as before and all is within rooms at every step; deterministic
// by seed.
#pragma once

#include "policy/cost_model.hpp"

namespace coel::policy {

struct search_options {
  uint32_t moves = 20'000; ///< tried, not taken
  double heat = 0.3;       ///< of the annealing, in average gains of one token; falls to 0
  double quota_slack = 0;  ///< above 0: each node's experts of a layer stay within this share
                           ///< of even (the horizontal shape)
  uint64_t seed = 1;
};

/// By the time of decoding the tokens of `traffic`.
expert_map search_placement(const cost_model& costs, const home_traffic& traffic, expert_map map,
                            const std::vector<uint64_t>& room, const search_options& options);

} // namespace coel::policy
