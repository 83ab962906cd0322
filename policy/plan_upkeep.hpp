// When a plan is made anew, and whether the new one is worth its moves. Pure: what a plan was made
// from is compared with what is known now.
#pragma once

#include "common/node_record.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace coel::policy {

struct basis_node {
  std::string key;
  bool home = false;
  uint64_t room = 0; ///< experts
  expert_speed speed;
  bool operator==(const basis_node&) const = default;
};

struct basis_link {
  std::string from, to; ///< keys, from < to
  double rtt_us = 0;
  bool operator==(const basis_link&) const = default;
};

/// What a plan is made from.
struct plan_basis {
  std::vector<basis_node> nodes; ///< by key
  std::vector<basis_link> links; ///< by keys
  std::vector<double> use;       ///< [layers * experts] activations per token
  uint64_t tokens = 0;           ///< behind it
  double sessions = 1;           ///< that decode at once, lately
};

enum class replan_reason : uint8_t {
  none,
  first,   ///< there is no plan
  nodes,   ///< one came, went, or changed its part
  rooms,   ///< memory changed by more than a twentieth
  speed,   ///< a node became faster or slower by half
  links,   ///< a round trip changed twofold, and by more than a little
  routing, ///< a tenth of the activations go elsewhere, or far more tokens are known
  load,    ///< more than twice as many sessions at once as then, or less than half
};
std::string_view to_string(replan_reason reason);

replan_reason reason_to_replan(const plan_basis& planned, const plan_basis& now);

/// Cannot wait: the plan does not suit the nodes that are there.
inline bool is_urgent(replan_reason reason) {
  return reason == replan_reason::first || reason == replan_reason::nodes ||
         reason == replan_reason::rooms;
}

/// Moving experts costs; what is a little better by prediction may be worse in truth.
inline constexpr double worthwhile_gain = 0.05;
inline bool worth_moving(double present_us, double planned_us) {
  return planned_us < (1 - worthwhile_gain) * present_us;
}

/// Who plans for a model: the least key among its homes that stay. Empty: nobody.
std::string planner_of(const std::vector<basis_node>& nodes);

} // namespace coel::policy
