// Whether a request may start, must wait, or is refused. KV pages for prompt and answer are taken
// whole at admission, so a running session never has to be thrown out for want of memory.
#pragma once

#include <cstdint>

namespace coel::policy {

struct admission_limits {
  uint32_t context = 0; ///< tokens that the model was made for
  uint32_t page_tokens = 32;
  uint32_t pages = 0;         ///< of the whole pool
  uint32_t max_sessions = 64; ///< running at once
  uint32_t max_queue = 256;   ///< waiting
};

struct admission_load {
  uint32_t free_pages = 0;
  uint32_t running = 0;
  uint32_t waiting = 0;
};

enum class admission_verdict : uint8_t {
  start,
  wait,           ///< fits once others have ended
  refuse_context, ///< prompt and answer exceed the model's context
  refuse_memory,  ///< would not fit an empty pool
  refuse_busy,    ///< the queue is full
};

/// `ahead`: others wait already and arrived first; they are not overtaken.
admission_verdict admit(uint64_t prompt_tokens, uint64_t max_tokens, const admission_limits& limits,
                        const admission_load& load, bool ahead);

} // namespace coel::policy
