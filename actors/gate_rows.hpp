// Pure steps of a gate: what a routed batch asks of the experts, of a neighbour, of this node.
#pragma once

#include "actors/messages.hpp"
#include "actors/served_model.hpp"

#include <optional>

namespace coel::actors {

/// Every row for each slice of the shared expert, whose factors (the shared gate) stay on the
/// device and are left empty here; then routed rows by expert. Sums are in this order: the slices
/// are always in memory and run while other experts are read.
std::vector<expert_rows> rows_by_expert(const served_model& m, const layer_work& work);
/// The same of other choices than the router's, [rows, top_k].
std::vector<expert_rows> rows_by_expert(const served_model& m, const layer_work& work,
                                        std::span<const int32_t> ids,
                                        std::span<const float> weights);

/// The device's task for one expert, without its weights.
compute::expert_task task_for(const served_model& m, const layer_work& work, expert_rows group);

/// A neighbour's share of a batch: the rows that its experts need, counted anew from 0.
struct remote_share {
  std::vector<uint32_t> rows; ///< of the batch, rising
  remote_dispatch message;
};
remote_share share_for(const served_model& m, const layer_work& work,
                       const std::vector<expert_rows>& experts);

/// Rows over all experts: what their run time grows with.
size_t rows_of(const std::vector<expert_rows>& experts);

} // namespace coel::actors
