#include "policy/expert_cache.hpp"

#include <algorithm>

namespace coel::policy {

expert_cache::expert_cache(cache_shape shape, uint64_t capacity_bytes, cache_value_ptr rule)
    : shape_(shape), capacity_(capacity_bytes), rule_(std::move(rule)), bytes_(shape.slots()),
      pinned_(shape.slots()) {}

expert_cache::decision expert_cache::decide(expert_key key, uint64_t bytes,
                                            const is_in_use& in_use) const {
  if (holds(key) || bytes > capacity_)
    return {};
  if (used_ + bytes <= capacity_)
    return {true, {}};
  struct candidate {
    double value;
    expert_key key;
    bool operator<(const candidate& o) const {
      return value != o.value ? value < o.value : key < o.key;
    }
  };
  double worth = rule_->value(key);
  std::vector<candidate> less;
  for (uint32_t l = 0; l < shape_.layers; ++l)
    for (uint32_t e = 0; e < shape_.experts; ++e) {
      expert_key k{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      auto slot = shape_.slot(k);
      if (!bytes_[slot] || pinned_[slot])
        continue;
      if (double v = rule_->value(k); v < worth)
        less.push_back({v, k});
    }
  std::make_heap(less.begin(), less.end(), [](const auto& a, const auto& b) { return b < a; });
  uint64_t freed = 0;
  decision d;
  while (used_ - freed + bytes > capacity_ && !less.empty()) {
    std::pop_heap(less.begin(), less.end(), [](const auto& a, const auto& b) { return b < a; });
    auto victim = less.back().key;
    less.pop_back();
    if (in_use(victim))
      continue;
    freed += bytes_[shape_.slot(victim)];
    d.victims.push_back(victim);
  }
  if (used_ - freed + bytes > capacity_)
    return {};
  d.admit = true;
  return d;
}

void expert_cache::insert(expert_key key, uint64_t bytes) {
  auto& slot = bytes_[shape_.slot(key)];
  used_ += bytes - slot;
  slot = bytes;
}

void expert_cache::erase(expert_key key) {
  auto& slot = bytes_[shape_.slot(key)];
  used_ -= slot;
  slot = 0;
}

expert_cache::layer_view expert_cache::view(layer_id layer) const {
  layer_view v;
  for (uint32_t e = 0; e < shape_.experts; ++e) {
    auto slot = shape_.slot({layer, static_cast<expert_id>(e)});
    v.experts += bytes_[slot] != 0;
    v.pinned += bytes_[slot] != 0 && pinned_[slot];
    v.bytes += bytes_[slot];
  }
  return v;
}

} // namespace coel::policy
