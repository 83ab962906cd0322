// Where the intermediate rows of a run_experts operation lie, for every implementation.
#pragma once

#include "compute/device.hpp"
#include "compute/ops.hpp"

#include <vector>

namespace coel::cpu {

/// One task's part of the intermediate memory.
struct expert_slot {
  const compute::expert_task* task = nullptr;
  size_t first_row = 0;   ///< rows of the tasks before it
  size_t first_value = 0; ///< sum of rows * ff of the tasks before it, each rounded up to 32
  uint32_t ff = 0;
};

/// Slots of the tasks that have rows, in their order.
inline std::vector<expert_slot> expert_slots(const compute::run_experts& op) {
  std::vector<expert_slot> slots;
  size_t row = 0;
  size_t value = 0;
  for (const auto& task : op.tasks) {
    if (task.rows.empty())
      continue;
    uint32_t ff = task.expert->gate->rows();
    slots.push_back({&task, row, value, ff});
    row += task.rows.size();
    value += (task.rows.size() * ff + 31) / 32 * 32;
  }
  return slots;
}

/// Factor of the i-th row of a task.
inline float expert_factor(const compute::expert_task& task, size_t i) {
  if (!task.weights.empty())
    return task.weights[i];
  return task.row_weights ? task.row_weights[task.rows[i]] : 1.f;
}

} // namespace coel::cpu
