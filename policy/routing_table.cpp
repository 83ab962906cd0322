#include "policy/routing_table.hpp"

namespace coel::policy {

routing_table::routing_table(uint32_t layers, uint32_t experts_per_layer, node_id host)
    : layers_(layers), experts_(experts_per_layer),
      hosts_(size_t{layers} * experts_per_layer, {host}) {}

routing_table::routing_table(uint32_t layers, uint32_t experts_per_layer,
                             const std::map<node_id, bitmap>& holds, uint64_t epoch)
    : layers_(layers), experts_(experts_per_layer), epoch_(epoch),
      hosts_(size_t{layers} * experts_per_layer) {
  for (const auto& [host, held] : holds)
    for (size_t i = 0; i < hosts_.size(); ++i)
      if (held.test(i))
        hosts_[i].push_back(host);
}

routing_table routing_table::with(expert_key key, std::vector<node_id> hosts) const {
  routing_table next = *this;
  next.hosts_[slot(key)] = std::move(hosts);
  ++next.epoch_;
  return next;
}

const std::vector<node_id>& routing_table::hosts(expert_key key) const {
  return hosts_[slot(key)];
}

std::vector<expert_rows> group_by_expert(std::span<const int32_t> ids,
                                         std::span<const float> weights, uint32_t rows,
                                         uint32_t experts) {
  std::vector<expert_rows> by_expert(experts);
  size_t top_k = rows ? ids.size() / rows : 0;
  for (uint32_t r = 0; r < rows; ++r)
    for (size_t k = 0; k < top_k; ++k) {
      auto& group = by_expert[static_cast<size_t>(ids[r * top_k + k])];
      group.rows.push_back(r);
      group.weights.push_back(weights[r * top_k + k]);
    }
  std::vector<expert_rows> used;
  for (uint32_t e = 0; e < experts; ++e)
    if (!by_expert[e].rows.empty()) {
      by_expert[e].expert = static_cast<expert_id>(e);
      used.push_back(std::move(by_expert[e]));
    }
  return used;
}

} // namespace coel::policy
