#include "model/card_needs.hpp"

#include "model/graph.hpp"

#include <algorithm>

namespace coel::model {

uint64_t card_step_bytes(const model_config& c, uint32_t rows, uint32_t logits) {
  return step_buffer_bytes(c, rows, logits) + working_bytes(c, rows, logits) + table_bytes(c);
}

result<card_needs> card_needs_of(const source& from, const serving_shape& how) {
  auto of = memory_needs_of(from, how);
  if (!of)
    return of.err();
  const auto& c = from.config();
  card_needs n;
  n.of = *of;
  n.kv_pages_context = (c.context + how.page_tokens - 1) / how.page_tokens;
  n.step_bytes = card_step_bytes(c, std::min(how.rows, c.context), how.logits);
  n.least_step_bytes = card_step_bytes(c, 1, 1);
  return n;
}

} // namespace coel::model
