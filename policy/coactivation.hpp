// Which experts are used, and which together: popularity, pairs within a layer and from one layer
// to the next (the connection probability), all per token and fading with age.
#pragma once

#include "policy/routing_trace.hpp"

namespace coel::policy {

class coactivation {
 public:
  static constexpr double default_half_life = 8192; ///< tokens

  /// half_life 0: nothing fades.
  explicit coactivation(routing_shape shape, double half_life = default_half_life);

  /// One token's path, [layers, top_k]; weight: how much it counts beside others.
  void add(std::span<const uint16_t> path, double weight = 1);
  void add(const routing_trace& trace, double weight = 1);

  /// Activations per token: sums to top_k over a layer.
  double popularity(uint32_t layer, uint32_t i) const { return share(popularity_[at(layer, i)]); }
  /// Share of tokens that choose both at `layer`; i = j gives popularity.
  double same_layer(uint32_t layer, uint32_t i, uint32_t j) const {
    return share(same_[pair(layer, i, j)]);
  }
  /// Share of tokens that choose i at `layer` and j at the next.
  double next_layer(uint32_t layer, uint32_t i, uint32_t j) const {
    return share(next_[pair(layer, i, j)]);
  }
  /// P(j at the next layer | i at `layer`); 0 if i was never chosen.
  double connection(uint32_t layer, uint32_t i, uint32_t j) const;

  std::vector<double> popularity() const; ///< [layers * experts]
  const routing_shape& shape() const { return shape_; }
  double tokens() const { return total_ / unit_; } ///< faded count

 private:
  size_t at(uint32_t layer, uint32_t i) const { return size_t{layer} * shape_.experts + i; }
  size_t pair(uint32_t layer, uint32_t i, uint32_t j) const {
    return at(layer, i) * shape_.experts + j;
  }
  double share(double sum) const { return total_ > 0 ? sum / total_ : 0; }
  void rescale();

  routing_shape shape_;
  double growth_;   // of the unit with each token, instead of fading all sums
  double unit_ = 1; // weight of a new token
  double total_ = 0;
  std::vector<double> popularity_; // [layers, experts]
  std::vector<double> same_;       // [layers, experts, experts]
  std::vector<double> next_;       // [layers - 1, experts, experts]
};

} // namespace coel::policy
