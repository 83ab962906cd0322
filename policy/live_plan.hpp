// The planner's problem for nodes that run: from what they say of themselves and what was measured.
// What is not known yet is taken from the nodes that have measured it.
#pragma once

#include "policy/placement.hpp"
#include "policy/stage_way.hpp"

namespace coel::policy {

struct live_node {
  std::string key;
  std::string name;
  bool home = false;
  uint64_t memory_bytes = 0; ///< its budget; 0: not bounded
  uint64_t room = 0;         ///< experts of this model
  expert_speed speed;
  home_speed dense;
  double tokens_per_s = 0;
  double read_us = 0;      ///< see node_facts
  std::vector<double> use; ///< [layers * experts] activations per token of its own, or empty
  routing_trace sample;    ///< of its own tokens, slices not included; may be empty
};

struct live_cluster {
  model_demand model;
  std::vector<live_node> nodes;
  network_facts network;
  placement_options options;
};

/// Every node that says that it is a home counts as one: idle homes a little.
placement_problem problem_of(const live_cluster& cluster);

/// Tokens drawn by popularity alone, [layers * experts] or empty: all equal. Each takes the slices
/// of the shared expert, the last `model.slices` of a layer, and others at random.
routing_trace trace_by_use(const model_demand& model, const std::vector<double>& use,
                           uint32_t tokens, uint64_t seed);

/// What a session with the routing of `probe` (without slices of the shared expert) would take with
/// each node of the cluster as its home.
struct home_price {
  double token_us = 0;
  double more_us = 0;          ///< a step takes more for each further session
  double again_us = 0;         ///< to feed `fed` tokens
  std::vector<double> busy_us; ///< [nodes] by a token
};
std::vector<home_price> price_homes(const live_cluster& cluster, const expert_map& held,
                                    const routing_trace& probe, uint32_t fed);

/// Time of a request with this placement, as candidates are scored; through stages, if there are.
struct placement_price {
  token_cost decode, prompt;
  double request_us = 0;
};
placement_price price_of(const placement_problem& problem, const expert_map& map,
                         const std::vector<stage>& stages = {});

} // namespace coel::policy
