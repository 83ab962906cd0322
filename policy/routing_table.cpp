#include "policy/routing_table.hpp"

#include <cassert>
#include <map>

namespace coel::policy {

routing_table::routing_table(uint32_t layers, uint32_t experts_per_layer, node_id host)
    : layers_(layers), experts_(experts_per_layer), hosts_(size_t{layers} * experts_per_layer, {host}) {}

routing_table routing_table::with(expert_key key, std::vector<node_id> hosts) const {
  assert(!hosts.empty());
  routing_table next = *this;
  next.hosts_[slot(key)] = std::move(hosts);
  ++next.epoch_;
  return next;
}

const std::vector<node_id>& routing_table::hosts(expert_key key) const { return hosts_[slot(key)]; }

std::vector<expert_rows> group_by_expert(std::span<const int32_t> ids, std::span<const float> weights,
                                         uint32_t rows, uint32_t experts) {
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

std::vector<host_rows> group_by_host(const routing_table& table, layer_id layer,
                                     std::vector<expert_rows> experts) {
  std::map<node_id, std::vector<expert_rows>> by_host;
  for (auto& rows : experts)
    by_host[table.hosts({layer, rows.expert}).front()].push_back(std::move(rows));
  std::vector<host_rows> grouped;
  for (auto& [host, rows] : by_host)
    grouped.push_back({host, std::move(rows)});
  return grouped;
}

} // namespace coel::policy
