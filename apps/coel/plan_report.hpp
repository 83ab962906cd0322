// A plan for people and for programs.
#pragma once

#include "policy/planner.hpp"

#include <nlohmann/json.hpp>

namespace coel::app {

struct plan_inputs {
  policy::placement_problem problem;
  std::string routing; ///< where the routing is from, one sentence
};

void print_plan(const plan_inputs& in, const policy::cluster_plan& plan);
nlohmann::json plan_json(const plan_inputs& in, const policy::cluster_plan& plan);

} // namespace coel::app
