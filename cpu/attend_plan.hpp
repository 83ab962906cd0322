// What every implementation of attention shares: which row is which token, rotary embedding and
// the store into the pages.
#pragma once

#include "cpu/planner.hpp"

namespace coel::cpu {

/// One row of the batch as attention sees it.
struct attend_row {
  const compute::segment* in = nullptr;
  uint32_t row = 0;
  uint32_t position = 0;
  const float* angles = nullptr; ///< rope_tables row
};

/// The rows of all segments, in their order.
std::vector<attend_row> attend_rows(const compute::attend& op, rope_tables& ropes);

/// Adds the phase that rotates q and k and stores k and v. `to_f16` converts n values.
using f16_converter = void (*)(const float* in, uint16_t* out, uint32_t n);
void plan_store(planner& out, const compute::attend& op,
                const std::shared_ptr<const std::vector<attend_row>>& rows, f16_converter to_f16);

} // namespace coel::cpu
