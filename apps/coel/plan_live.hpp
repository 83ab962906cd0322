// The plan that a running node follows, as its document "cluster" tells it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace coel::app {

/// For people; a node is not trusted to answer in the right shape. `model` empty: all.
void print_live_plan(const nlohmann::json& cluster, const std::string& model);

/// The same for programs: a list by model.
nlohmann::json live_plan_json(const nlohmann::json& cluster, const std::string& model);

} // namespace coel::app
