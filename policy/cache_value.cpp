#include "policy/cache_value.hpp"

#include <cmath>
#include <limits>

namespace coel::policy {

namespace {

/// Activations per token of every expert, decayed. A new token's weight grows instead of all others
/// shrinking.
class decayed_frequency {
 public:
  decayed_frequency(cache_shape shape, double half_life)
      : shape_(shape), half_life_(half_life), weight_(shape.slots()), total_(shape.layers),
        unit_(shape.layers, 1.0) {}

  void add(layer_id layer, std::span<const expert_use> used, uint32_t tokens) {
    auto l = index(layer);
    unit_[l] *= std::exp2(tokens / half_life_);
    for (const auto& u : used)
      weight_[shape_.slot({layer, u.expert})] += unit_[l] * u.rows;
    total_[l] += unit_[l] * tokens;
    if (unit_[l] > 1e100)
      rescale(layer);
  }

  double per_token(expert_key key) const {
    double total = total_[index(key.layer)];
    return total > 0 ? weight_[shape_.slot(key)] / total : 0;
  }

 private:
  void rescale(layer_id layer) {
    auto l = index(layer);
    for (uint32_t e = 0; e < shape_.experts; ++e)
      weight_[shape_.slot({layer, static_cast<expert_id>(e)})] /= unit_[l];
    total_[l] /= unit_[l];
    unit_[l] = 1;
  }

  cache_shape shape_;
  double half_life_;
  std::vector<double> weight_;       // [layers, experts]
  std::vector<double> total_, unit_; // [layers]
};

class by_activation : public cache_value {
 public:
  by_activation(cache_shape shape, const activation_weights& w)
      : shape_(shape), w_(w), fast_(shape, w.fast_half_life), slow_(shape, w.slow_half_life) {}

  void routed(layer_id layer, std::span<const expert_use> used, uint32_t tokens) override {
    fast_.add(layer, used, tokens);
    slow_.add(layer, used, tokens);
    now_ = index(layer);
  }

  double value(expert_key key) const override {
    double use = w_.fast_share * fast_.per_token(key) + (1 - w_.fast_share) * slow_.per_token(key);
    uint32_t ahead = (index(key.layer) + shape_.layers - now_ - 1) % shape_.layers + 1;
    return use * (1 - w_.distance * ahead / shape_.layers);
  }

 private:
  cache_shape shape_;
  activation_weights w_;
  decayed_frequency fast_, slow_;
  uint32_t now_ = 0;
};

class by_recency : public cache_value {
 public:
  explicit by_recency(cache_shape shape) : shape_(shape), last_(shape.slots()) {}
  void routed(layer_id layer, std::span<const expert_use> used, uint32_t) override {
    ++clock_;
    for (const auto& u : used)
      last_[shape_.slot({layer, u.expert})] = clock_;
  }
  double value(expert_key key) const override {
    return static_cast<double>(last_[shape_.slot(key)]);
  }

 private:
  cache_shape shape_;
  std::vector<uint64_t> last_; // [layers, experts]
  uint64_t clock_ = 0;
};

class by_frequency : public cache_value {
 public:
  by_frequency(cache_shape shape, double half_life) : frequency_(shape, half_life) {}
  void routed(layer_id layer, std::span<const expert_use> used, uint32_t tokens) override {
    frequency_.add(layer, used, tokens);
  }
  double value(expert_key key) const override { return frequency_.per_token(key); }

 private:
  decayed_frequency frequency_;
};

class by_future : public cache_value {
 public:
  by_future(cache_shape shape, const std::vector<routed_step>& future)
      : shape_(shape), turns_(shape.slots()), next_(shape.slots()) {
    for (size_t i = 0; i < future.size(); ++i)
      for (const auto& u : future[i].used)
        turns_[shape.slot({future[i].layer, u.expert})].push_back(i);
  }
  void routed(layer_id, std::span<const expert_use>, uint32_t) override { ++clock_; }
  double value(expert_key key) const override {
    auto slot = shape_.slot(key);
    auto& next = next_[slot];
    const auto& turns = turns_[slot];
    while (next < turns.size() && turns[next] < clock_) // the step just routed is its last turn
      ++next;
    return next < turns.size() ? -static_cast<double>(turns[next])
                               : -std::numeric_limits<double>::infinity();
  }

 private:
  cache_shape shape_;
  std::vector<std::vector<size_t>> turns_;
  mutable std::vector<size_t> next_;
  size_t clock_ = 0; // steps routed so far
};

} // namespace

cache_value_ptr activation_aware(cache_shape shape, const activation_weights& weights) {
  return std::make_unique<by_activation>(shape, weights);
}
cache_value_ptr least_recent(cache_shape shape) {
  return std::make_unique<by_recency>(shape);
}
cache_value_ptr least_frequent(cache_shape shape, double half_life_tokens) {
  return std::make_unique<by_frequency>(shape, half_life_tokens);
}
cache_value_ptr clairvoyant(cache_shape shape, const std::vector<routed_step>& future) {
  return std::make_unique<by_future>(shape, future);
}

} // namespace coel::policy
