#include "policy/live_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace coel::policy {

namespace {

constexpr uint32_t drawn_tokens = 512; // where nothing is recorded
constexpr size_t enough_tokens = 128;  // fewer say less than popularity does
constexpr uint32_t window_tokens = 64; // of the sample, which is of no session's order
constexpr double idle_weight = 0.05;   // of the busiest home

double one_us(const expert_speed& s) {
  return s.expert_us + s.row_us;
}

/// The middle one of those that are known.
template <class Value, class Of>
Value middle(const std::vector<live_node>& nodes, Of of, Value otherwise) {
  std::vector<Value> known;
  for (const auto& n : nodes)
    if (auto v = of(n))
      known.push_back(*v);
  auto size = [](const Value& v) {
    if constexpr (std::is_same_v<Value, expert_speed>)
      return v.expert_us + v.row_us;
    else
      return v.layer_us;
  };
  if (known.empty())
    return otherwise;
  std::sort(known.begin(), known.end(),
            [&](const auto& a, const auto& b) { return size(a) < size(b); });
  return known[known.size() / 2];
}

expert_speed usual_speed(const live_cluster& c) {
  // As a small machine reads memory, 10 GB/s: a row costs little beside it.
  double read = static_cast<double>(c.model.expert_bytes) / 10'000;
  return middle<expert_speed>(c.nodes,
                              [](const live_node& n) {
                                return one_us(n.speed) > 0 ? std::optional(n.speed) : std::nullopt;
                              },
                              {std::max(1.0, read), std::max(0.1, read / 8)});
}

home_speed usual_dense(const live_cluster& c, const expert_speed& expert) {
  auto bytes = static_cast<double>(std::max<uint64_t>(1, c.model.expert_bytes));
  double by_bytes = one_us(expert) / bytes;
  return middle<home_speed>(c.nodes,
                            [](const live_node& n) {
                              return n.dense.layer_us > 0 ? std::optional(n.dense) : std::nullopt;
                            },
                            {20 + by_bytes * static_cast<double>(c.model.dense_layer_bytes),
                             expert.row_us * static_cast<double>(c.model.dense_layer_bytes) / bytes,
                             by_bytes * static_cast<double>(c.model.head_bytes)});
}

node_times times_of(const live_node& n, const expert_speed& usual, const home_speed& dense) {
  auto d = n.dense.layer_us > 0 ? n.dense : dense;
  double head = n.dense.head_us > 0 ? n.dense.head_us : dense.head_us;
  return {one_us(n.speed) > 0 ? n.speed : usual, d.layer_us, d.layer_row_us, head};
}

std::vector<node_facts> facts_of(const live_cluster& c) {
  auto usual = usual_speed(c);
  auto dense = usual_dense(c, usual);
  std::vector<node_facts> out;
  for (const auto& n : c.nodes) {
    node_facts f;
    f.name = n.name;
    f.memory_bytes = n.memory_bytes;
    f.room = n.room;
    f.measured = times_of(n, usual, dense);
    f.read_us = n.read_us;
    out.push_back(std::move(f));
  }
  return out;
}

routing_trace recorded(const live_cluster& c, const live_node& n, uint64_t seed) {
  if (n.sample.tokens() < enough_tokens)
    return trace_by_use(c.model, n.use, drawn_tokens, seed);
  auto trace = with_shared_slices(n.sample, c.model.slices);
  cut_into_sessions(trace, window_tokens);
  return trace;
}

} // namespace

routing_trace trace_by_use(const model_demand& m, const std::vector<double>& use, uint32_t tokens,
                           uint64_t seed) {
  routing_trace out;
  out.shape = {m.layers, m.experts, m.top_k};
  std::mt19937_64 random(seed);
  uint32_t routed = m.experts - m.slices, chosen = std::min(m.top_k - m.slices, routed);
  std::vector<std::pair<double, uint16_t>> keys(routed);
  for (uint32_t t = 0; t < tokens; ++t) {
    std::vector<uint16_t> path;
    for (uint32_t l = 0; l < m.layers; ++l) {
      // Without replacement by weight (Efraimidis and Spirakis, 2006).
      for (uint32_t e = 0; e < routed; ++e) {
        double weight = use.empty() ? 1 : std::max(use[size_t{l} * m.experts + e], 1e-5);
        double unit = (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
        keys[e] = {std::log(unit) / weight, static_cast<uint16_t>(e)};
      }
      std::partial_sort(keys.begin(), keys.begin() + chosen, keys.end(), std::greater<>());
      for (uint32_t k = 0; k < chosen; ++k)
        path.push_back(keys[k].second);
      for (uint32_t s = 0; s < m.slices; ++s)
        path.push_back(static_cast<uint16_t>(routed + s));
    }
    out.append(path, t / window_tokens);
  }
  return out;
}

placement_problem problem_of(const live_cluster& c) {
  placement_problem p;
  p.model = c.model;
  p.network = c.network;
  p.options = c.options;
  p.nodes = facts_of(c);
  double busiest = 0;
  for (const auto& n : c.nodes)
    busiest = std::max(busiest, n.home ? n.tokens_per_s : 0);
  std::vector<home_trace> fit, held;
  for (uint32_t n = 0; n < c.nodes.size(); ++n) {
    if (!c.nodes[n].home)
      continue;
    double weight = busiest > 0 ? std::max(c.nodes[n].tokens_per_s, idle_weight * busiest) : 1;
    auto halves = split_trace(recorded(c, c.nodes[n], n + 1));
    fit.push_back({n, weight, std::move(halves.fit)});
    held.push_back({n, weight, std::move(halves.held_out)});
  }
  auto nodes = static_cast<uint32_t>(c.nodes.size());
  p.fit = join_traffic(nodes, fit);
  p.held_out = join_traffic(nodes, held);
  return p;
}

namespace {

/// Other sessions route as this home's usually do.
double more_us(const cost_model& costs, const live_cluster& c, const expert_map& held,
               uint32_t home) {
  constexpr size_t crowd = 8;
  auto usual = trace_by_use(c.model, c.nodes[home].use, 12 * crowd, home + 1);
  std::vector<size_t> tokens(usual.tokens());
  std::iota(tokens.begin(), tokens.end(), size_t{0});
  auto us = [&](size_t sessions) { return costs.step(held, usual, tokens, home, sessions).us; };
  return std::max(0.0, us(crowd) - us(1)) / (crowd - 1);
}

} // namespace

std::vector<home_price> price_homes(const live_cluster& c, const expert_map& held,
                                    const routing_trace& probe, uint32_t fed) {
  cost_model costs(c.model, facts_of(c), c.network);
  home_traffic traffic;
  traffic.trace = with_shared_slices(probe, c.model.slices);
  std::vector<home_price> out;
  for (uint32_t n = 0; n < c.nodes.size(); ++n) {
    traffic.home.assign(traffic.trace.tokens(), static_cast<uint16_t>(n));
    traffic.weight.assign(c.nodes.size(), 0);
    traffic.weight[n] = 1;
    auto decode = costs.decode(held, traffic);
    out.push_back({decode.us, more_us(costs, c, held, n),
                   fed ? costs.prompt(held, traffic, fed).us : 0, std::move(decode.busy_us)});
  }
  return out;
}

placement_price price_of(const placement_problem& p, const expert_map& map,
                         const std::vector<stage>& stages) {
  cost_model costs(p.model, p.nodes, p.network);
  placement_price out;
  if (!stages.empty()) {
    auto way = price_way(costs, map, p.held_out, p.options, stages);
    return {way.decode, way.prompt, way.request_us};
  }
  out.decode = costs.decode(map, p.held_out, p.options.sessions);
  if (p.options.prompt_tokens)
    out.prompt = costs.prompt(map, p.held_out, p.options.prompt_tokens);
  out.request_us = request_us(out.decode, out.prompt, p.options);
  return out;
}

} // namespace coel::policy
