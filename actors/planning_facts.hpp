// What planners are told: from records, from the cost book, from this home's routing. Pure.
#pragma once

#include "actors/updater.hpp"

namespace coel::actors {

/// Nodes that have the model and are up, this one too.
policy::plan_basis basis_of(const updater_state& st, const placed_model& m);

/// Tokens that homes routed, by key; what is null or not there is not known.
using routing_samples = std::map<std::string, routing_sample_ptr>;

/// The nodes of the basis in its order.
policy::live_cluster cluster_of(const updater_state& st, const placed_model& m,
                                const policy::plan_basis& basis, const routing_samples& samples);

/// What nodes should hold as the plan that is followed is mended, in the basis' order.
policy::expert_map mended_map(const updater_state& st, const placed_model& m,
                              const policy::plan_basis& basis);
/// What they say that they hold.
policy::expert_map held_map(const updater_state& st, const placed_model& m,
                            const policy::plan_basis& basis);

/// The stages that are followed, by the basis' numbers; none if a node of theirs is not in it.
std::vector<policy::stage> followed_stages(const placed_model& m, const policy::plan_basis& basis);

/// A plan as it is told; its epoch and planner are set when it is published.
plan_record record_of_plan(const policy::cluster_plan& plan, const policy::plan_basis& basis);
/// The same of what nodes have by now, kept because `plan` is not worth moving to.
plan_record record_of_present(const policy::expert_map& map, const policy::placement_price& price,
                              const policy::cluster_plan& plan, const plan_record& followed,
                              const policy::plan_basis& basis);

/// Round trips and goodput of this node's links, as plans count them.
std::vector<neighbour_record> measured_links(const updater_state& st);

} // namespace coel::actors
