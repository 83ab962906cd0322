// Which node holds which experts: builds the candidates, polishes the best of them, scores all on
// tokens that none of them was made from, and takes the one that answers requests soonest. A pure
// function: same problem, same plan.
#pragma once

#include "policy/cost_model.hpp"

namespace coel::policy {

enum class plan_shape : uint8_t {
  automatic,
  horizontal, ///< every node an equal share of each layer, within 20 %: the paper's form
  layers,     ///< whole layers
  stages,     ///< any, if sessions' layers then run in stages (policy/planner); else as automatic
};
std::string_view to_string(plan_shape shape);
std::optional<plan_shape> shape_from_name(std::string_view name);

struct placement_options {
  plan_shape shape = plan_shape::automatic;
  bool home_by_prompt = false;  ///< sessions go where their experts are, by their prompt
  uint32_t prompt_tokens = 128; ///< of the requests expected
  uint32_t answer_tokens = 128;
  double sessions = 1;            ///< at once
  uint32_t search_moves = 20'000; ///< for each candidate that is polished; 0: none
  uint32_t polished = 2;          ///< how many of the best candidates are
  size_t most_tokens = 2000;      ///< of each half that are looked at
  uint64_t seed = 1;
};

struct placement_problem {
  model_demand model;
  std::vector<node_facts> nodes; ///< at most 64
  network_facts network;
  home_traffic fit;           ///< to plan with
  home_traffic held_out;      ///< to score with
  std::vector<uint64_t> room; ///< [nodes] experts of this model; empty: from the memory
  placement_options options;
};

struct placement_candidate {
  std::string name;
  expert_map map;
  token_cost decode; ///< a token, on held-out routing
  token_cost prompt; ///< a prompt of options.prompt_tokens
  double request_us = 0;
  bool eligible = true; ///< has the shape asked for; random never is chosen, it is the baseline
};

struct placement_plan {
  std::vector<placement_candidate> candidates;
  size_t chosen = 0;
  std::vector<uint64_t> room;
  std::vector<uint64_t> memory_bytes; ///< of the chosen, by node
  std::string why;

  const placement_candidate& best() const { return candidates[chosen]; }
};

/// Errors: out_of_memory (how many bytes are missing and what would fit), bad_argument.
result<placement_plan> plan_placement(const placement_problem& problem);

/// Time of one request of the expected lengths.
double request_us(const token_cost& decode, const token_cost& prompt,
                  const placement_options& options);

/// Several models over the same nodes: each gets what it needs once, then spare memory goes, an
/// eighth at a time, to the model that answers its requests most sooner for it.
struct shared_model {
  placement_problem problem; ///< `room` is ignored; nodes are those of all
  double requests_per_s = 1;
};
result<std::vector<placement_plan>> plan_models(const std::vector<shared_model>& models);

} // namespace coel::policy
