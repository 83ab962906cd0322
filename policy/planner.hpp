// The whole decision for one model: one node, which nodes, which placement, and what stages of
// whole layers would do instead. A pure function that keeps what it rejected, to be shown.
#pragma once

#include "policy/placement.hpp"
#include "policy/region.hpp"
#include "policy/stage_way.hpp"

namespace coel::policy {

enum class plan_kind : uint8_t {
  alone,   ///< one home with all experts is faster, or not enough slower
  experts, ///< experts over nodes, attention at the home
  stages,  ///< contiguous layers by node, attention and KV with them
};
std::string_view to_string(plan_kind kind);

struct cluster_plan {
  plan_kind kind = plan_kind::experts;
  std::vector<region_plan> regions;  ///< one for each home, in order of homes
  std::vector<uint32_t> region_home; ///< whose
  node_set members = 0;              ///< homes and helpers that were planned with
  placement_plan placement;          ///< over the members; of `alone`: everything at the home
  std::optional<token_cost> alone_decode, alone_prompt; ///< one home with all experts, exactly
  double alone_request_us = 0;
  /// The best over the candidates' maps, taken (kind stages) or not; of `stages` the placement's
  /// chosen candidate has its map and prediction.
  std::optional<stage_way> way;
  std::string why;
};

/// `problem.room` is ignored: rooms come from the nodes' memory. Errors as plan_placement.
result<cluster_plan> plan_cluster(const placement_problem& problem,
                                  const region_options& region = {});

} // namespace coel::policy
