// Sessions decoded where their experts are: the home is chosen by what the prompt used, and
// sessions and experts are clustered together (POLICY P3.2). Without it connection probability
// changes no round (POLICY 0.6).
#pragma once

#include "policy/cost_model.hpp"
#include "policy/placement_candidates.hpp"

namespace coel::policy {

/// Share of a prompt's activations that each node holds, [nodes]; paths are [layers, top_k].
std::vector<double> local_shares(const expert_map& map, const routing_trace& trace,
                                 std::span<const size_t> prompt);

/// The home for one session: highest share, less what the node is busier than its part; a tie goes
/// to the entry node. `load`: tokens or sessions under way by node; `may`: homes.
uint32_t choose_home(std::span<const double> share, std::span<const double> load,
                     std::span<const uint32_t> may, uint32_t entry);

/// What speaks for a home, for one session whose first tokens are known.
struct home_offer {
  uint32_t node = 0;
  double token_us = 0; ///< predicted, from the routing of those tokens
  double more_us = 0;  ///< that a step of this home takes longer for each further session
  double again_us = 0; ///< to feed there what has been fed at the entry; of the entry not looked at
  double sessions = 0; ///< others that are decoded there
  /// How long a token of this home keeps each node busy, [nodes]; empty: only the home.
  std::vector<double> busy_us{};
};

/// The home that is through with the rest of the answer first, with what it costs to begin again
/// there; the entry unless another gains more than a sixth, and all sessions together get no fewer
/// tokens for it. Sessions of one home are one batch, those of another home that runs experts on
/// the same nodes take turns with it, and read the same weights anew. Offers are not empty, the
/// entry's first.
uint32_t best_home(std::span<const home_offer> offers, double answer_tokens);

struct homing_options {
  uint32_t prompt_tokens = 32; ///< looked at
  double most = 1.25;          ///< times its even part that a home may get
};

/// Each session to a home by its prompt, as they come.
home_traffic home_by_prompt(const home_traffic& traffic, const expert_map& map,
                            std::span<const uint32_t> homes, const homing_options& options = {});

/// Sessions to homes so that each home's sessions use the same experts: expectation and
/// maximisation over placements by popularity, from several starts.
home_traffic cluster_sessions(const home_traffic& traffic, const std::vector<uint64_t>& room,
                              std::span<const uint32_t> homes, uint64_t seed,
                              const homing_options& options = {});

} // namespace coel::policy
