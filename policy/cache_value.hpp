// What it is worth to have an expert in memory: the rules that caches of experts go by. The more
// valuable stays; values are compared only with values of the same rule at the same moment.
#pragma once

#include "common/ids.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace coel::policy {

/// How many rows of a layer step chose an expert.
struct expert_use {
  expert_id expert{};
  uint32_t rows = 0;
};

struct cache_shape {
  uint32_t layers = 0;
  uint32_t experts = 0; ///< routed experts of a layer
  size_t slot(expert_key k) const { return size_t{index(k.layer)} * experts + index(k.expert); }
  size_t slots() const { return size_t{layers} * experts; }
};

class cache_value {
 public:
  virtual ~cache_value() = default;
  /// A layer of a step of `tokens` rows has been routed. Layers come in order, again and again.
  virtual void routed(layer_id layer, std::span<const expert_use> used, uint32_t tokens) = 0;
  virtual double value(expert_key key) const = 0;
};
using cache_value_ptr = std::unique_ptr<cache_value>;

/// Weights of activation_aware; the defaults are measured (docs/tiers.md).
struct activation_weights {
  double fast_half_life = 24;   ///< tokens: what the running texts are about
  double slow_half_life = 4096; ///< tokens: what the model is asked for altogether
  double fast_share = 0.6;
  double distance = 0.3; ///< what a whole round of layers until its next turn takes off
};

/// Activations per token, over the last tokens and over long, less for layers whose turn is far
/// (after HOBBIT's and MoE-Infinity's replacement: frequency first, since the loop over the layers
/// makes recency a scan).
cache_value_ptr activation_aware(cache_shape shape, const activation_weights& weights = {});

/// To compare with: the least recently used goes; the least frequently used goes, with decay.
cache_value_ptr least_recent(cache_shape shape);
cache_value_ptr least_frequent(cache_shape shape, double half_life_tokens = 4096);

/// One layer step of a recording.
struct routed_step {
  layer_id layer{};
  std::vector<expert_use> used;
  uint32_t tokens = 0;
};

/// Belady's rule: what is used furthest in the future goes. Must be told exactly these steps.
cache_value_ptr clairvoyant(cache_shape shape, const std::vector<routed_step>& future);

} // namespace coel::policy
