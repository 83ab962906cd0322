// One node alone, or which neighbours with it (POLICY P2): from popularity and measurements only,
// before anything is placed. Each home decides for itself from what it knows of nodes up to two
// hops away, so the cost does not grow with the network.
#pragma once

#include "policy/plan_facts.hpp"

namespace coel::policy {

struct region_options {
  double margin = 0.9; ///< several nodes only if they take at most this share of one's time
  uint32_t prompt_tokens = 128;
  uint32_t answer_tokens = 128;
  uint32_t enumerate_up_to = 12; ///< candidates; more are searched greedily
};

struct region_problem {
  model_demand model;
  std::vector<node_facts> nodes; ///< [0] is the home; memory_bytes is what is free for this model
  std::vector<link_facts> links; ///< [nodes] between the home and each; [0] is not looked at
  /// Share of a layer's activations that its m most popular experts get, [experts + 1], rising
  /// from 0 to 1; see mass_curve.
  std::vector<double> mass;
  region_options options;
};

enum class region_mode : uint8_t {
  single, ///< all experts in the home's memory
  tiered, ///< the home alone, the rest read from its SSD
  several,
  infeasible,
};
std::string_view to_string(region_mode mode);

struct region_cost {
  double decode_us = 0; ///< a token
  double prompt_us = 0;
  double request_us = 0; ///< prompt and answer
};

struct region_plan {
  region_mode mode = region_mode::infeasible;
  std::vector<uint32_t> helpers; ///< rising; empty unless several
  region_cost cost;
  std::optional<region_cost> alone;   ///< the home alone, if that can be done
  std::optional<region_cost> several; ///< the best region, if there is one
  std::vector<uint64_t> experts;      ///< [nodes] share of each in one copy of the model
  std::string why;                    ///< a sentence with the numbers
};

region_plan choose_region(const region_problem& problem);

/// Cost of one set of helpers; empty: their memory does not do.
std::optional<region_cost> cost_of_region(const region_problem& problem,
                                          std::span<const uint32_t> helpers);
/// The best set by trying all, and by greedy growth with swaps; empty: no set will do.
std::optional<std::vector<uint32_t>> enumerate_regions(const region_problem& problem);
std::optional<std::vector<uint32_t>> grow_region(const region_problem& problem);

/// From [layers * experts] activations per token, averaged over layers; without statistics a Zipf
/// law of exponent 0.54, as flat as routers trained with a balancing loss are.
std::vector<double> mass_curve(std::span<const double> popularity, uint32_t experts);
std::vector<double> mass_curve(uint32_t experts);

} // namespace coel::policy
