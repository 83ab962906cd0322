// Which experts are in memory and which make room: a set of bytes with pins, and a rule of value
// (cache_value.hpp). An expert that is worth less than all that it would push out is not admitted:
// it runs from where it was read into.
#pragma once

#include "policy/cache_value.hpp"

#include <functional>
#include <vector>

namespace coel::policy {

class expert_cache {
 public:
  expert_cache(cache_shape shape, uint64_t capacity_bytes, cache_value_ptr rule);

  /// A layer of a step has been routed: what has value changes.
  void routed(layer_id layer, std::span<const expert_use> used, uint32_t tokens) {
    rule_->routed(layer, used, tokens);
  }
  double value(expert_key key) const { return rule_->value(key); }

  bool holds(expert_key key) const { return bytes_[shape_.slot(key)] != 0; }
  uint64_t used_bytes() const { return used_; }
  uint64_t capacity_bytes() const { return capacity_; }
  void resize(uint64_t capacity_bytes) { capacity_ = capacity_bytes; }

  /// Who has to go for an expert to come in. It is not admitted (and nobody goes) if room cannot be
  /// made from experts that are worth less, neither pinned nor in use.
  struct decision {
    bool admit = false;
    std::vector<expert_key> victims; ///< least valuable first
  };
  using is_in_use = std::function<bool(expert_key)>;
  decision decide(expert_key key, uint64_t bytes, const is_in_use& in_use) const;

  /// The caller has done what was decided. `bytes` is not 0.
  void insert(expert_key key, uint64_t bytes);
  void erase(expert_key key);

  /// A pinned expert is never a victim.
  void pin(expert_key key) { pinned_[shape_.slot(key)] = true; }
  void unpin(expert_key key) { pinned_[shape_.slot(key)] = false; }

  struct layer_view {
    uint32_t experts = 0; ///< in memory
    uint32_t pinned = 0;
    uint64_t bytes = 0;
  };
  layer_view view(layer_id layer) const;
  const cache_shape& shape() const { return shape_; }

 private:
  cache_shape shape_;
  uint64_t capacity_;
  uint64_t used_ = 0;
  cache_value_ptr rule_;
  std::vector<uint64_t> bytes_; // [layers, experts]; 0: not in memory
  std::vector<bool> pinned_;    // [layers, experts]
};

} // namespace coel::policy
