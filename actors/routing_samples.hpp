// Routing of all homes of a model, token by token, for the home that plans.
#pragma once

#include "actors/planning_facts.hpp"
#include "actors/updater_planning.hpp"

namespace coel::actors {

/// Asks this node's scheduler and, over their links, the homes that have decoded lately. Of those
/// that do not answer soon there is nothing.
void gather_samples(updater_ptr self, const placed_model& m,
                    std::function<void(const routing_samples&)> then);

} // namespace coel::actors
