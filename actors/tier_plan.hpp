// Shares a node's memory out among its models, before their actors exist, and fills it.
#pragma once

#include "actors/hosting.hpp"
#include "actors/lower_choice.hpp"
#include "actors/tier_stores.hpp"
#include "actors/tiering.hpp"

namespace coel::actors {

struct tiering_choice {
  uint64_t ram_bytes = 0;  ///< 0: what is free
  double expert_share = 0; ///< of routed experts in memory, instead of a budget; 0: by the budget
  hosting_config hosting;
  std::filesystem::path state_folder; ///< of predictors; empty: they are not kept
  store_choice stores;
  lower_choice lower;
};

struct tier_plan {
  bool any = false;               ///< a model's experts do not all fit
  uint64_t budget_bytes = 0;      ///< then: of the whole node
  uint64_t other_bytes = 0;       ///< staging rings, the program, and what it reads in place
  std::vector<std::string> notes; ///< for whoever started the node
};

/// Gives models of which not all fits what they read by (served_model::tiered): each gets what it
/// needs at least, and of the rest a share by its experts. Errors: out_of_memory, with how much is
/// needed; io, bad_file (its files); those of choose_stores.
result<tier_plan> plan_tiers(const std::vector<std::shared_ptr<served_model>>& models,
                             const tiering_choice& choice);

/// In a cluster: gives each model that is whole here what it would read by if no node held all of
/// it (served_model::pool), with that share of its room (0: none); takes no memory. What cannot be
/// read from is left without, with a note. Errors: those of choose_stores.
result<std::vector<std::string>>
plan_pools(const std::vector<std::shared_ptr<served_model>>& models, const store_choice& stores,
           double share);

/// Loads what is pinned and fills the memory for experts. Blocks. Errors: the first failure.
result<void> warm_experts(caf::actor_system& system, const hosted_model& hosted,
                          const tier_actor& ram, const load_progress& progress);

} // namespace coel::actors
