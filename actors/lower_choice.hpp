// What a user allows for the sake of speed: see docs/tiers.md, copies of fewer bits.
#pragma once

#include "common/dtype.hpp"

#include <optional>

namespace coel::actors {

struct lower_choice {
  double share = 0; ///< of the memory for routed experts; 0: none, every miss is waited for
  std::optional<dtype> type; ///< none: the next one of fewer bits
};

} // namespace coel::actors
