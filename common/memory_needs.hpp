// What a model, and the way it is served, take of memory.
#pragma once

#include <cstdint>

namespace coel {

struct memory_needs {
  uint64_t dense_bytes = 0;  ///< what every token needs
  uint64_t shared_bytes = 0; ///< slices of the shared expert, of all layers
  uint64_t expert_bytes = 0; ///< the largest routed expert, in the device's layout
  uint64_t read_bytes = 0;   ///< the largest routed expert as it is read
  uint64_t routed_bytes = 0; ///< all routed experts
  uint32_t layers = 0;
  uint32_t experts = 0; ///< routed experts of a layer
  uint32_t top_k = 0;
  uint64_t kv_page_bytes = 0;
  uint32_t kv_pages_least = 1;  ///< one short request
  uint32_t kv_pages_wanted = 1; ///< what is taken where there is room
  uint64_t step_bytes = 0;      ///< buffers of a step
  uint64_t process_bytes = 0;   ///< program, tokenizer, queues
};

} // namespace coel
