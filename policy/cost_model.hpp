// What a placement costs: time of a decoded token and of a prompt, rounds, messages and bytes, work
// by node. Exact over recorded tokens, each split over its hosts as gates do it at run time
// (policy/dispatch_split, same rule); by a closed form where only popularity is known.
#pragma once

#include "policy/expert_map.hpp"
#include "policy/plan_facts.hpp"

namespace coel::policy {

/// Per token, averages over the tokens and homes of the traffic.
struct token_cost {
  double us = 0;               ///< from one token of a session to the next
  double rounds = 0;           ///< layers in which rows leave the home
  double messages = 0;         ///< dispatches to other nodes
  double bytes = 0;            ///< both ways
  double remote = 0;           ///< activations that are run elsewhere
  double missing = 0;          ///< activations that nobody holds: the home reads them, if it can
  std::vector<double> busy_us; ///< [nodes] of each node's device, dense work of homes included
  double imbalance = 1;        ///< busiest node over the mean, experts only
  double together_us = 0;      ///< the same with all sessions at once; 0: not counted

  /// Time per token with `sessions` at once: no node can do more than it has time for.
  double us_with(double sessions) const;
};

/// A decoding step of several sessions, which are one batch at their home.
struct step_cost {
  double us = 0;
  std::vector<double> busy_us; ///< [nodes]
};

struct cost_options {
  uint32_t slice_rows = 128;   ///< prompt rows of one step
  uint32_t prompt_samples = 3; ///< prompts evaluated for each home
};

class cost_model {
 public:
  cost_model(model_demand model, std::vector<node_facts> nodes, network_facts network,
             cost_options options = {});

  /// With several sessions at once what a step of all of them takes is counted too.
  token_cost decode(const expert_map& map, const home_traffic& traffic, double sessions = 1) const;
  /// A prompt of `tokens`; `us` and the rest are of the whole prompt.
  token_cost prompt(const expert_map& map, const home_traffic& traffic, uint32_t tokens) const;

  /// A decoding step where so many sessions, spread over the homes by weight, are one batch at each
  /// of them: what nodes run for several homes takes its turn.
  double together_us(const expert_map& map, const home_traffic& traffic, double sessions) const;
  /// One of these steps: the mean over some that are made of these tokens, far apart from each
  /// other as each is of a session of its own.
  step_cost step(const expert_map& map, const routing_trace& trace, std::span<const size_t> tokens,
                 uint32_t home, size_t sessions) const;

  /// Layers [first, end) of one token at `node`, or of rows that are one batch; no output matrix.
  token_cost layers(const expert_map& map, const routing_trace& trace, std::span<const size_t> rows,
                    uint32_t node, uint32_t first, uint32_t end) const;

  /// From popularity alone, activations taken as independent: P(node used) = 1 - (1 - mass)^K, the
  /// maximum over nodes by telescoping from the dearest down (POLICY P2).
  double decode_closed_form_us(const expert_map& map, std::span<const double> popularity,
                               uint32_t home) const;

  /// One layer of one token: which nodes run something and how long it takes.
  struct layer_cost {
    double us = 0;
    node_set used = 0; ///< home too, if it runs some
    uint32_t remote = 0;
    uint32_t missing = 0;
  };
  layer_cost layer(const expert_map& map, uint32_t layer, std::span<const uint16_t> chosen,
                   uint32_t home, std::vector<double>* busy_us = nullptr) const;

  /// Bytes of each node that the map fills, dense part and KV of `homes` included.
  std::vector<uint64_t> memory_bytes(const expert_map& map, std::span<const uint32_t> homes) const;

  const model_demand& model() const { return model_; }
  const std::vector<node_facts>& nodes() const { return nodes_; }
  const network_facts& network() const { return network_; }
  /// Dense work of a decoded token at its home: all layers and the output matrix.
  double dense_token_us(uint32_t home) const;
  /// Utilisation counted.
  const node_times& times(uint32_t node) const { return times_[node]; }

  struct lane_cost {
    double fixed_us = 0;        ///< round trip and handling; 0 at home
    double wire_us_per_row = 0; ///< both ways; 0 at home
    expert_speed speed;         ///< utilisation counted
  };
  const lane_cost& lane(uint32_t home, uint32_t node) const {
    return lanes_[size_t{home} * nodes_.size() + node];
  }

 private:
  struct batch;
  void split_batch(const expert_map& map, uint32_t home, batch& b, token_cost& sum,
                   double weight) const;
  void add_layers(const expert_map& map, uint32_t home, const routing_trace& trace,
                  std::span<const size_t> rows, uint32_t first, uint32_t end, token_cost& sum,
                  double weight) const;
  void add_prompt(const expert_map& map, uint32_t home, const routing_trace& trace,
                  std::span<const size_t> tokens, token_cost& sum, double weight) const;

  model_demand model_;
  std::vector<node_facts> nodes_;
  network_facts network_;
  cost_options options_;
  std::vector<node_times> times_; // utilisation counted
  std::vector<lane_cost> lanes_;  // [home, node]
};

/// Expected maximum over helpers that are each used with some chance, and of `local_us`: helpers in
/// any order, `share` of all activations, `us` once used.
struct helper_share {
  double share = 0;
  double us = 0;
};
double expected_layer_us(std::vector<helper_share> helpers, double local_us, uint32_t top_k);

} // namespace coel::policy
