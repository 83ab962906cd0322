// Ways to lay the experts of a model over nodes, POLICY P3: each a pure function of rooms and of
// statistics by home. Every map covers all experts and fits every room; which is best, the cost
// model says.
#pragma once

#include "policy/coactivation.hpp"
#include "policy/expert_map.hpp"
#include "policy/plan_facts.hpp"

#include <random>

namespace coel::policy {

struct candidate_inputs {
  uint32_t nodes = 0;
  uint32_t layers = 0;
  uint32_t experts = 0;
  std::vector<uint64_t> room;                  ///< [nodes] experts that fit; the sum covers all
  std::vector<double> weight;                  ///< [nodes] share of tokens decoded; 0: a helper
  std::vector<std::vector<double>> popularity; ///< [nodes][layers * experts] of its own tokens
  std::vector<double> common;                  ///< [layers * experts] of all
  coactivation pairs;                          ///< of all, weighted
  const home_traffic* traffic = nullptr;       ///< behind the statistics

  size_t items() const { return size_t{layers} * experts; }
  /// What having an item is worth to a node: use by its own tokens, or by all for a helper.
  double wanted(uint32_t node, size_t item) const {
    return weight[node] > 0 ? weight[node] * popularity[node][item] : 1e-6 * common[item];
  }
};

candidate_inputs make_inputs(const home_traffic& traffic, std::vector<uint64_t> room);

/// Experts of each layer that a node holds before replicas, [layers][nodes]: rows sum to experts,
/// columns are in proportion to room and never above it.
std::vector<std::vector<uint32_t>> layer_quotas(const candidate_inputs& in);

// Horizontal: every node has a slice of every layer.
expert_map place_random(const candidate_inputs& in, std::mt19937_64& random);
/// Rendezvous hashing, replicas by popularity: what nodes do that only know each other's records.
expert_map place_rendezvous(const candidate_inputs& in, std::span<const std::string> keys);
/// Experts to the home that uses them most, within quotas; replicas of its own popular experts.
expert_map place_popularity(const candidate_inputs& in);
/// By connection probability: layers forth and back, each assigned anew given its neighbours.
expert_map place_sweep(const candidate_inputs& in, uint32_t passes = 6);

// Skewed: a node may have more of one layer than of another.
/// Contiguous layers by room; spare room takes further layers whole.
expert_map place_layers(const candidate_inputs& in);
/// By layer and home the share of tokens that stay local with the m most popular experts; room is
/// spent along the upper concave hull of these curves.
expert_map place_hull(const candidate_inputs& in);

/// Gives each uncovered expert a place: free room, else instead of the least useful replica.
void repair_coverage(const candidate_inputs& in, expert_map& map);
/// Where some experts are nobody's: exchanges those that are used more for such as are used less
/// and have one host. The last `slices` of a layer are held in any case.
void leave_least_used(expert_map& map, const std::vector<double>& use, uint32_t slices);
/// Spends what room is left on what each node wants most; by_layer keeps layers equally full.
void add_replicas(const candidate_inputs& in, expert_map& map, bool by_layer);

} // namespace coel::policy
