// Which host runs each expert of a routed batch when several hold it: the split that is predicted
// to end first. Experts that one host alone holds go there; the rest are given out longest first,
// each to the host that would finish it soonest (Graham's LPT rule, 1969), a host's first expert
// paying its round trip. The answer may be to keep everything on this node: then the network does
// not pay. Where `self` can read experts from its disk, it counts as a host of those too, dearer by
// the read: what nobody holds is read, and what a peer holds is if that is predicted sooner.
#pragma once

#include "common/node_record.hpp"
#include "policy/routing_table.hpp"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>

namespace coel::policy {

/// What using a host costs, predicted from what was measured.
struct host_cost {
  double fixed_us = 0;        ///< round trip and handling; 0 for this node
  double wire_us_per_row = 0; ///< both ways; 0 for this node
  expert_speed speed;
};

struct split {
  std::vector<host_rows> hosts;     ///< hosts rising
  std::vector<expert_rows> nowhere; ///< no host that may be used holds them
  double predicted_us = 0;
  double alone_us = 0; ///< the same on `self` only, if it held everything
};

/// Another rule for those that several hosts hold but not `self`: a position among them.
using replica_pick = std::function<size_t(std::span<const node_id>)>;

/// What it takes `self` to have an expert that the table does not give it, beyond running it: 0 if
/// it is in memory by chance. Nothing: it cannot be had.
using read_price = std::function<std::optional<double>(expert_id)>;

struct split_problem {
  const routing_table* table = nullptr;
  layer_id layer{};
  node_id self{};
  const std::map<node_id, host_cost>* costs = nullptr; ///< of hosts that can be reached, self too
  const std::set<node_id>* avoid = nullptr;            ///< failed in this batch; may be null
  const replica_pick* pick = nullptr;                  ///< null: who is predicted to end first
  const read_price* reads = nullptr;                   ///< null: `self` runs what the table says
};

split split_rows(const split_problem& problem, std::vector<expert_rows> experts);

} // namespace coel::policy
