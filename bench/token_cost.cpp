#include "bench/token_cost.hpp"

#include "model/family.hpp"

namespace coel::bench {

token_cost cost_of_token(const model::source& from) {
  using model::role;
  const auto& c = from.config();
  token_cost cost;
  for (const auto& key : model::required_tensors(c)) {
    bool expert = model::is_expert_role(key.what);
    if (expert && index(key.expert) >= c.top_k) // experts of a layer are alike: any top_k of them
      continue;
    auto m = from.matrix(key);
    if (!m)
      continue;
    bool looked_up = key.what == role::token_embedding;
    cost.bytes += looked_up ? row_bytes(m->type, m->cols) : m->bytes();
    if (key.what == role::output || (looked_up && c.tied_output)) {
      cost.output_multiply_adds = m->rows * m->cols;
      cost.bytes += looked_up ? m->bytes() : 0;
    }
    if (!looked_up && m->rows > 1) // norms and biases are no products
      cost.multiply_adds += m->rows * m->cols;
  }
  if (c.tied_output)
    cost.multiply_adds += cost.output_multiply_adds;
  return cost;
}

} // namespace coel::bench
