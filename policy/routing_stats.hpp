// What a node learns from its own routing: the input of every placement and caching policy.
#pragma once

#include "common/ids.hpp"

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace coel::policy {

struct routing_shape {
  uint32_t layers = 0;
  uint32_t experts = 0; ///< routed experts of a layer
  uint32_t top_k = 0;
  bool operator==(const routing_shape&) const = default;
};

/// One token's path: experts by layer and rank, [layers * top_k].
using routed_token = std::vector<uint16_t>;

class routing_stats {
 public:
  static constexpr double popularity_half_life = 4096; ///< tokens
  static constexpr uint64_t halving_interval = 8192;   ///< tokens between halvings of pair counts
  static constexpr size_t reservoir_size = 2000;       ///< tokens kept for exact evaluation

  routing_stats(routing_shape shape, uint64_t seed);

  /// One step: `rows` tokens pass all layers in order, ids are [rows, top_k]. A step that is not
  /// ended (a failure) leaves only its popularity behind.
  void begin_step(uint32_t rows);
  void add_layer(layer_id layer, std::span<const int32_t> ids);
  void end_step();

  /// Activations per token, decayed: sums to top_k over a layer once tokens have passed.
  double popularity(expert_key key) const;
  /// Tokens that chose i at `layer` and j at the next layer (decayed by halving).
  uint32_t successions(layer_id layer, expert_id i, expert_id j) const;
  /// Tokens that chose both i and j at `layer` (decayed by halving).
  uint32_t coactivations(layer_id layer, expert_id i, expert_id j) const;
  /// A uniform sample over all tokens so far (Vitter's algorithm R).
  const std::vector<routed_token>& sample() const { return reservoir_; }
  /// The tokens of the step that ended last.
  const std::vector<routed_token>& last_step() const { return step_; }
  uint64_t tokens() const { return tokens_; }
  const routing_shape& shape() const { return shape_; }

 private:
  size_t pair(layer_id layer, uint32_t i, uint32_t j) const {
    return (size_t{index(layer)} * shape_.experts + i) * shape_.experts + j;
  }
  void keep(const routed_token& token);

  routing_shape shape_;
  std::vector<double> weights_;         // [layers, experts], scaled by unit_
  std::vector<double> layer_tokens_;    // [layers], scaled by unit_
  std::vector<double> unit_;            // [layers]: weight of a new token, grows instead of decay
  std::vector<uint32_t> successions_;   // [layers - 1, experts, experts]
  std::vector<uint32_t> coactivations_; // [layers, experts, experts]
  std::vector<routed_token> reservoir_;
  std::vector<routed_token> step_;
  uint64_t tokens_ = 0;
  std::mt19937_64 random_;
};

} // namespace coel::policy
