#include "policy/routing_stats.hpp"

#include <cmath>

namespace coel::policy {

namespace {

const double growth = std::exp2(1.0 / routing_stats::popularity_half_life);
constexpr double rescale_above = 1e100;

void halve(std::vector<uint32_t>& counts) {
  for (auto& c : counts)
    c >>= 1;
}

} // namespace

routing_stats::routing_stats(routing_shape shape, uint64_t seed)
    : shape_(shape), weights_(size_t{shape.layers} * shape.experts), layer_tokens_(shape.layers),
      unit_(shape.layers, 1.0),
      successions_(size_t{shape.layers ? shape.layers - 1 : 0} * shape.experts * shape.experts),
      coactivations_(size_t{shape.layers} * shape.experts * shape.experts), random_(seed) {}

void routing_stats::begin_step(uint32_t rows) {
  step_.assign(rows, routed_token(size_t{shape_.layers} * shape_.top_k));
}

void routing_stats::add_layer(layer_id layer, std::span<const int32_t> ids) {
  size_t l = index(layer), k = shape_.top_k;
  double* weights = &weights_[l * shape_.experts];
  for (size_t row = 0; row < step_.size(); ++row) {
    unit_[l] *= growth;
    layer_tokens_[l] += unit_[l];
    for (size_t rank = 0; rank < k; ++rank) {
      auto e = static_cast<uint16_t>(ids[row * k + rank]);
      step_[row][l * k + rank] = e;
      weights[e] += unit_[l];
    }
  }
  if (unit_[l] > rescale_above) {
    for (uint32_t e = 0; e < shape_.experts; ++e)
      weights[e] /= unit_[l];
    layer_tokens_[l] /= unit_[l];
    unit_[l] = 1;
  }
}

void routing_stats::end_step() {
  size_t k = shape_.top_k;
  for (const auto& token : step_) {
    for (uint32_t l = 0; l < shape_.layers; ++l)
      for (size_t a = 0; a < k; ++a) {
        auto i = token[l * k + a];
        for (size_t b = 0; b < k; ++b)
          coactivations_[pair(static_cast<layer_id>(l), i, token[l * k + b])] += a != b;
        if (l + 1 < shape_.layers)
          for (size_t b = 0; b < k; ++b)
            ++successions_[pair(static_cast<layer_id>(l), i, token[(l + 1) * k + b])];
      }
    keep(token);
    if (++tokens_ % halving_interval == 0) {
      halve(successions_);
      halve(coactivations_);
    }
  }
}

void routing_stats::keep(const routed_token& token) {
  if (reservoir_.size() < reservoir_size) {
    reservoir_.push_back(token);
    return;
  }
  auto place = std::uniform_int_distribution<uint64_t>(0, tokens_)(random_);
  if (place < reservoir_size)
    reservoir_[place] = token;
}

double routing_stats::popularity(expert_key key) const {
  auto total = layer_tokens_[index(key.layer)];
  return total > 0 ? weights_[size_t{index(key.layer)} * shape_.experts + index(key.expert)] / total
                   : 0;
}

uint32_t routing_stats::successions(layer_id layer, expert_id i, expert_id j) const {
  return successions_[pair(layer, index(i), index(j))];
}

uint32_t routing_stats::coactivations(layer_id layer, expert_id i, expert_id j) const {
  return coactivations_[pair(layer, index(i), index(j))];
}

} // namespace coel::policy
