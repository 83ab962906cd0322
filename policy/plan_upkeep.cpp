#include "policy/plan_upkeep.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

constexpr double moved_use = 0.1;
constexpr uint64_t few_tokens = 256; // fewer tell nothing
constexpr uint64_t many_more = 8;
constexpr double small_rtt_us = 300; // such differences decide nothing

bool by_factor(double a, double b, double factor) {
  if (a <= 0 || b <= 0)
    return (a > 0) != (b > 0);
  return std::max(a, b) > factor * std::min(a, b);
}

double share_that_moved(const std::vector<double>& a, const std::vector<double>& b) {
  double sum_a = 0, sum_b = 0, off = 0;
  for (auto x : a)
    sum_a += x;
  for (auto x : b)
    sum_b += x;
  if (a.size() != b.size() || sum_a <= 0 || sum_b <= 0)
    return (sum_a > 0) != (sum_b > 0) ? 1 : 0;
  for (size_t i = 0; i < a.size(); ++i)
    off += std::abs(a[i] / sum_a - b[i] / sum_b);
  return off / 2;
}

bool other_nodes(const std::vector<basis_node>& a, const std::vector<basis_node>& b) {
  return !std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.key == y.key && x.home == y.home && (x.room > 0) == (y.room > 0);
  });
}

bool other_links(const std::vector<basis_link>& a, const std::vector<basis_link>& b) {
  for (const auto& x : a)
    for (const auto& y : b)
      if (x.from == y.from && x.to == y.to && by_factor(x.rtt_us, y.rtt_us, 2) &&
          std::abs(x.rtt_us - y.rtt_us) > small_rtt_us)
        return true;
  return false;
}

} // namespace

std::string_view to_string(replan_reason reason) {
  constexpr std::string_view names[] = {"none",  "first", "nodes",   "rooms",
                                        "speed", "links", "routing", "load"};
  return names[static_cast<size_t>(reason)];
}

replan_reason reason_to_replan(const plan_basis& planned, const plan_basis& now) {
  if (planned.nodes.empty())
    return replan_reason::first;
  if (other_nodes(planned.nodes, now.nodes))
    return replan_reason::nodes;
  for (size_t n = 0; n < now.nodes.size(); ++n)
    if (by_factor(static_cast<double>(planned.nodes[n].room),
                  static_cast<double>(now.nodes[n].room), 1.05))
      return replan_reason::rooms;
  for (size_t n = 0; n < now.nodes.size(); ++n)
    if (by_factor(planned.nodes[n].speed.expert_us + planned.nodes[n].speed.row_us,
                  now.nodes[n].speed.expert_us + now.nodes[n].speed.row_us, 1.5))
      return replan_reason::speed;
  if (other_links(planned.links, now.links))
    return replan_reason::links;
  bool far_more = now.tokens >= few_tokens && now.tokens >= many_more * planned.tokens;
  bool moved = now.tokens >= few_tokens && share_that_moved(planned.use, now.use) > moved_use;
  if (far_more || moved)
    return replan_reason::routing;
  return by_factor(planned.sessions, now.sessions, 2) ? replan_reason::load : replan_reason::none;
}

std::string planner_of(const std::vector<basis_node>& nodes) {
  std::string least;
  for (const auto& n : nodes)
    if (n.home && (least.empty() || n.key < least))
      least = n.key;
  return least;
}

} // namespace coel::policy
