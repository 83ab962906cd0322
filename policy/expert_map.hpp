// Which nodes hold which experts of one model, by node number within one plan.
#pragma once

#include "common/node_record.hpp"

#include <bit>
#include <cstdint>
#include <vector>

namespace coel::policy {

/// A set of nodes by bit: one plan has at most 64 nodes.
using node_set = uint64_t;
inline constexpr uint32_t max_plan_nodes = 64;

inline node_set only(uint32_t node) {
  return node_set{1} << node;
}

struct expert_map {
  uint32_t nodes = 0;
  uint32_t layers = 0;
  uint32_t experts = 0;        ///< per layer
  std::vector<node_set> hosts; ///< [layers * experts]

  expert_map() = default;
  expert_map(uint32_t nodes_, uint32_t layers_, uint32_t experts_)
      : nodes(nodes_), layers(layers_), experts(experts_), hosts(size_t{layers_} * experts_) {}

  size_t item(uint32_t layer, uint32_t expert) const { return size_t{layer} * experts + expert; }
  bool holds(uint32_t node, size_t item) const { return hosts[item] >> node & 1; }
  uint64_t count(uint32_t node) const {
    uint64_t n = 0;
    for (auto h : hosts)
      n += h >> node & 1;
    return n;
  }
  bool covered() const {
    for (auto h : hosts)
      if (!h)
        return false;
    return true;
  }
  /// As plans are announced: one bitmap for each node.
  std::vector<bitmap> by_node() const {
    std::vector<bitmap> out(nodes, bitmap(hosts.size()));
    for (size_t i = 0; i < hosts.size(); ++i)
      for (auto h = hosts[i]; h; h &= h - 1)
        out[static_cast<size_t>(std::countr_zero(h))].set(i);
    return out;
  }
  bool operator==(const expert_map&) const = default;
};

} // namespace coel::policy
