#include "policy/coactivation.hpp"

#include <cmath>

namespace coel::policy {

coactivation::coactivation(routing_shape shape, double half_life)
    : shape_(shape), growth_(half_life > 0 ? std::exp2(1 / half_life) : 1),
      popularity_(size_t{shape.layers} * shape.experts),
      same_(size_t{shape.layers} * shape.experts * shape.experts),
      next_(shape.layers ? size_t{shape.layers - 1} * shape.experts * shape.experts : 0) {}

void coactivation::add(std::span<const uint16_t> path, double weight) {
  unit_ *= growth_;
  if (unit_ > 1e100)
    rescale();
  double w = weight * unit_;
  total_ += w;
  for (uint32_t l = 0; l < shape_.layers; ++l) {
    auto here = path.subspan(size_t{l} * shape_.top_k, shape_.top_k);
    for (auto i : here) {
      popularity_[at(l, i)] += w;
      for (auto j : here)
        same_[pair(l, i, j)] += w;
      if (l + 1 < shape_.layers)
        for (auto j : path.subspan(size_t{l + 1} * shape_.top_k, shape_.top_k))
          next_[pair(l, i, j)] += w;
    }
  }
}

void coactivation::add(const routing_trace& trace, double weight) {
  for (size_t t = 0; t < trace.tokens(); ++t)
    add(trace.path(t), weight);
}

double coactivation::connection(uint32_t layer, uint32_t i, uint32_t j) const {
  double p = popularity_[at(layer, i)];
  return p > 0 ? next_[pair(layer, i, j)] / p : 0;
}

std::vector<double> coactivation::popularity() const {
  std::vector<double> out(popularity_.size());
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = share(popularity_[i]);
  return out;
}

void coactivation::rescale() {
  for (auto* all : {&popularity_, &same_, &next_})
    for (auto& x : *all)
      x /= unit_;
  total_ /= unit_;
  unit_ = 1;
}

} // namespace coel::policy
