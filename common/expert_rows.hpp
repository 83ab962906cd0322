// Rows of a batch for one expert: what the router chose, as it travels from policy to wire.
#pragma once

#include "common/ids.hpp"

#include <cstdint>
#include <vector>

namespace coel {

struct expert_rows {
  expert_id expert{};
  std::vector<uint32_t> rows; ///< of the batch or frame, rising
  std::vector<float> weights; ///< factor of each row's output
};

} // namespace coel
