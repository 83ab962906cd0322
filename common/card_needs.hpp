// What a model takes of a card's memory.
#pragma once

#include "common/memory_needs.hpp"

namespace coel {

struct card_needs {
  memory_needs of;               ///< weights, KV; its `step_bytes` are buffers alone
  uint32_t kv_pages_context = 1; ///< one full context
  uint64_t step_bytes = 0;       ///< buffers, working memory and tables of the largest step
  uint64_t least_step_bytes = 0; ///< of a step of one row
};

} // namespace coel
