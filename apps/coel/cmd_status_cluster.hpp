#pragma once

#include <nlohmann/json.hpp>

namespace coel::app {

/// The part `cluster` of a node's status, as `coel status` prints it.
void print_cluster(const nlohmann::json& cluster);

} // namespace coel::app
