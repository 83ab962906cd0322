#include "actors/gate_bias.hpp"

#include "policy/expert_bias.hpp"

#include <algorithm>
#include <cmath>

namespace coel::actors {

namespace {

/// What a layer's experts are near to, row after row.
class nearness {
 public:
  nearness(const served_model& m, layer_id layer, const policy::routing_table& table, node_id self)
      : table_(table), layer_(layer), routed_(m.config().experts), local_(routed_), near_(routed_) {
    for (uint32_t e = 0; e < routed_; ++e)
      local_[e] = near_[e] = held_by(e, self);
    for (uint32_t e = routed_; e < m.experts_per_layer; ++e)
      if (!held_by(e, self))
        ask(e);
  }

  std::span<const uint8_t> local() const { return local_; }
  std::span<const uint8_t> near() const { return near_; }
  /// A row needs it: where it is not near, its node is asked from now on.
  void need(uint32_t expert) {
    if (!near_[expert])
      ask(expert);
  }

 private:
  const std::vector<node_id>& hosts(uint32_t e) const {
    return table_.hosts({layer_, static_cast<expert_id>(e)});
  }
  bool held_by(uint32_t e, node_id who) const {
    const auto& all = hosts(e);
    return std::find(all.begin(), all.end(), who) != all.end();
  }
  void ask(uint32_t e) {
    if (hosts(e).empty())
      return;
    auto who = hosts(e).front();
    for (uint32_t other = 0; other < routed_; ++other)
      near_[other] |= held_by(other, who);
  }

  const policy::routing_table& table_;
  layer_id layer_;
  uint32_t routed_;
  std::vector<uint8_t> local_, near_;
};

void to_probabilities(std::span<float> logits) {
  float most = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (auto& x : logits)
    sum += x = std::exp(x - most);
  for (auto& x : logits)
    x /= sum;
}

} // namespace

std::vector<expert_rows> near_rows_by_expert(const served_model& m, const layer_work& work,
                                             const policy::routing_table& table, node_id self,
                                             double bound) {
  const auto& c = m.config();
  size_t k = c.top_k;
  std::vector<int32_t> ids(work.buffers().chosen_experts(),
                           work.buffers().chosen_experts() + work.rows * k);
  std::vector<float> weights(work.buffers().chosen_weights(),
                             work.buffers().chosen_weights() + work.rows * k);
  std::vector<float> logits(size_t{work.rows} * c.experts);
  m.device->read(logits.data(), work.buffers().router_logits->data(),
                 logits.size() * sizeof(float));
  nearness where(m, work.layer, table, self);
  for (uint32_t r = 0; r < work.rows; ++r) {
    auto row = std::span(logits).subspan(size_t{r} * c.experts, c.experts);
    auto chosen = std::span(ids).subspan(r * k, k);
    to_probabilities(row);
    policy::prefer_near(row, where.local(), where.near(), bound, c.renormalise, chosen,
                        std::span(weights).subspan(r * k, k));
    for (auto e : chosen)
      where.need(static_cast<uint32_t>(e));
  }
  return rows_by_expert(m, work, ids, weights);
}

} // namespace coel::actors
