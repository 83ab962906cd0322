#include "policy/admission.hpp"

#include "policy/kv_pages.hpp"

namespace coel::policy {

admission_verdict admit(uint64_t prompt_tokens, uint64_t max_tokens, const admission_limits& limits,
                        const admission_load& load, bool ahead) {
  uint64_t tokens = prompt_tokens + max_tokens;
  if (tokens > limits.context)
    return admission_verdict::refuse_context;
  uint32_t pages = pages_for(tokens, limits.page_tokens);
  if (pages > limits.pages)
    return admission_verdict::refuse_memory;
  if (!ahead && pages <= load.free_pages && load.running < limits.max_sessions)
    return admission_verdict::start;
  return load.waiting < limits.max_queue ? admission_verdict::wait : admission_verdict::refuse_busy;
}

} // namespace coel::policy
