// Where each expert of a model is, and which rows of a routed batch go where. The gate dispatches
// by this table and by nothing else: a local expert is one whose host is this node.
#pragma once

#include "common/expert_rows.hpp"
#include "common/ids.hpp"
#include "common/node_record.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace coel::policy {

/// Immutable once published; a change is a new table with a higher epoch.
class routing_table {
 public:
  /// Every expert of every layer at `host`.
  routing_table(uint32_t layers, uint32_t experts_per_layer, node_id host);

  /// Each expert at the nodes that hold it; `holds` are [layers * experts_per_layer].
  routing_table(uint32_t layers, uint32_t experts_per_layer, const std::map<node_id, bitmap>& holds,
                uint64_t epoch);

  /// A copy with the expert at `hosts` and epoch + 1.
  routing_table with(expert_key key, std::vector<node_id> hosts) const;

  /// Rising; empty while nobody holds it.
  const std::vector<node_id>& hosts(expert_key key) const;
  uint64_t epoch() const { return epoch_; }
  uint32_t layers() const { return layers_; }
  uint32_t experts_per_layer() const { return experts_; }

 private:
  size_t slot(expert_key key) const {
    return size_t{index(key.layer)} * experts_ + index(key.expert);
  }

  uint32_t layers_;
  uint32_t experts_;
  uint64_t epoch_ = 1;
  std::vector<std::vector<node_id>> hosts_; // [layers * experts]
};

/// Groups a routed batch by expert: ids and weights are [rows, top_k]. Experts rise; none is empty.
std::vector<expert_rows> group_by_expert(std::span<const int32_t> ids,
                                         std::span<const float> weights, uint32_t rows,
                                         uint32_t experts);

/// What goes to one host; experts rise.
struct host_rows {
  node_id host{};
  std::vector<expert_rows> experts;
};

} // namespace coel::policy
