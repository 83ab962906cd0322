#include "policy/plan_facts.hpp"

#include <algorithm>

namespace coel::policy {

std::vector<uint32_t> home_traffic::homes() const {
  std::vector<uint32_t> out;
  for (uint32_t n = 0; n < weight.size(); ++n)
    if (weight[n] > 0)
      out.push_back(n);
  return out;
}

std::vector<std::vector<size_t>> home_traffic::tokens_by_home() const {
  std::vector<std::vector<size_t>> out(weight.size());
  for (size_t t = 0; t < trace.tokens(); ++t)
    out[home[t]].push_back(t);
  return out;
}

std::vector<uint32_t> stage_nodes(const std::vector<node_facts>& nodes,
                                  const home_traffic& traffic) {
  std::vector<uint32_t> out;
  for (uint32_t n = 0; n < nodes.size(); ++n)
    if (nodes[n].runs_layers || traffic.weight[n] > 0)
      out.push_back(n);
  return out;
}

home_traffic join_traffic(uint32_t nodes, std::span<const home_trace> homes) {
  home_traffic out;
  out.weight.assign(nodes, 0);
  double sum = 0;
  uint32_t base = 0;
  for (const auto& h : homes) {
    out.trace.shape = h.trace.shape;
    uint32_t top = 0;
    for (size_t t = 0; t < h.trace.tokens(); ++t) {
      top = std::max(top, h.trace.session[t]);
      out.trace.append(h.trace.path(t), base + h.trace.session[t]);
      out.home.push_back(static_cast<uint16_t>(h.node));
    }
    base += top + 1;
    out.weight[h.node] += h.tokens_per_s;
    sum += h.tokens_per_s;
  }
  for (auto& w : out.weight)
    w = sum > 0 ? w / sum : 0;
  return out;
}

namespace {

double usable_bytes(const node_facts& node) {
  return static_cast<double>(node.memory_bytes) * (1 - memory_reserve);
}

/// Time of n rows through one matrix is that of reading it or of the arithmetic, whichever is
/// longer: as a line, first + n * row, exact for one row and in the limit.
expert_speed line_of(double bytes, double macs, const node_facts& node) {
  double read = node.read_bytes_us > 0 ? bytes / node.read_bytes_us : 0;
  double row = node.macs_us > 0 ? macs / node.macs_us : 0;
  return {std::max(0.0, read - row), row};
}

} // namespace

node_times times_of(const node_facts& node, const model_demand& model) {
  if (node.measured)
    return *node.measured;
  auto expert = line_of(static_cast<double>(model.expert_bytes), model.expert_macs, node);
  auto layer = line_of(static_cast<double>(model.dense_layer_bytes), model.dense_layer_macs, node);
  auto head = line_of(static_cast<double>(model.head_bytes), model.head_macs, node);
  return {expert, node.step_us + layer.expert_us + layer.row_us, layer.row_us,
          head.expert_us + head.row_us};
}

bool may_be_home(const node_facts& node, const model_demand& model) {
  return usable_bytes(node) >= static_cast<double>(model.home_bytes());
}

uint64_t expert_room(const node_facts& node, const model_demand& model, bool home) {
  if (node.room)
    return std::min<uint64_t>(*node.room, model.items());
  double left =
      usable_bytes(node) - (home || node.runs_layers ? static_cast<double>(model.home_bytes()) : 0);
  if (left <= 0 || model.expert_bytes == 0)
    return 0;
  return std::min<uint64_t>(model.items(),
                            static_cast<uint64_t>(left / static_cast<double>(model.expert_bytes)));
}

} // namespace coel::policy
