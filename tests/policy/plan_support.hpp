// Random clusters, models and routing for tests of plans.
#pragma once

#include "policy/placement.hpp"
#include "policy/synthetic_routing.hpp"

#include <random>

namespace coel::policy::testing {

inline double between(std::mt19937_64& random, double low, double high) {
  return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
}

/// Tokens that choose experts by a random preference of each layer; sessions of 20.
inline routing_trace random_trace(std::mt19937_64& random, routing_shape shape, size_t tokens) {
  std::vector<double> taste(size_t{shape.layers} * shape.experts);
  for (auto& t : taste)
    t = between(random, 0, 1);
  routing_trace out{shape, {}, {}};
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<uint16_t> path;
    for (uint32_t l = 0; l < shape.layers; ++l) {
      std::vector<std::pair<double, uint16_t>> order;
      for (uint32_t e = 0; e < shape.experts; ++e)
        order.emplace_back(-taste[size_t{l} * shape.experts + e] - between(random, 0, 1),
                           static_cast<uint16_t>(e));
      std::sort(order.begin(), order.end());
      for (uint32_t k = 0; k < shape.top_k; ++k)
        path.push_back(order[k].second);
    }
    out.append(path, static_cast<uint32_t>(t / 20));
  }
  return out;
}

inline model_demand small_model(routing_shape shape) {
  model_demand m;
  m.name = "small";
  m.layers = shape.layers;
  m.experts = shape.experts;
  m.top_k = shape.top_k;
  m.expert_bytes = 1'000'000;
  m.dense_layer_bytes = 2'000'000;
  m.head_bytes = 3'000'000;
  m.embedding_bytes = 1'000'000;
  m.kv_bytes_per_token = 1000;
  m.context_tokens = 1000;
  m.expert_macs = 2e6;
  m.dense_layer_macs = 4e6;
  m.head_macs = 6e6;
  m.wire_row_bytes = 4096;
  return m;
}

/// Qwen1.5-MoE-A2.7B at 4 bits, shared expert in the dense part.
inline model_demand qwen_model() {
  model_demand m;
  m.name = "qwen1.5-moe-a2.7b";
  m.layers = 24;
  m.experts = 60;
  m.top_k = 4;
  m.expert_bytes = 4'866'048;
  m.dense_layer_bytes = 29'000'000;
  m.head_bytes = 255'000'000;
  m.embedding_bytes = 175'000'000;
  m.kv_bytes_per_token = 196'608;
  m.expert_macs = 8.65e6;
  m.dense_layer_macs = 51e6;
  m.head_macs = 311e6;
  m.wire_row_bytes = 4096;
  return m;
}

inline node_facts random_node(std::mt19937_64& random, uint32_t number) {
  node_facts n;
  n.name = "node-" + std::to_string(number);
  n.read_bytes_us = between(random, 5'000, 60'000);
  n.macs_us = between(random, 20'000, 300'000);
  n.utilisation = between(random, 0, 0.7);
  return n;
}

inline network_facts random_network(std::mt19937_64& random, uint32_t nodes) {
  network_facts out(nodes);
  for (uint32_t a = 0; a < nodes; ++a)
    for (uint32_t b = 0; b < a; ++b)
      out.set(a, b, {between(random, 100, 5000), between(random, 1, 125)});
  return out;
}

/// A problem of 1 to 6 nodes, 1 to 3 of them homes, with room for 0.7 to 2.5 copies.
inline placement_problem random_problem(std::mt19937_64& random) {
  auto experts = static_cast<uint32_t>(4 + random() % 9);
  routing_shape shape{static_cast<uint32_t>(1 + random() % 4), experts,
                      static_cast<uint32_t>(1 + random() % std::min(4u, experts / 2))};
  placement_problem p;
  p.model = small_model(shape);
  auto nodes = static_cast<uint32_t>(1 + random() % 6);
  auto homes = static_cast<uint32_t>(1 + random() % std::min(3u, nodes));
  double items = shape.layers * shape.experts;
  for (uint32_t n = 0; n < nodes; ++n) {
    p.nodes.push_back(random_node(random, n));
    p.room.push_back(static_cast<uint64_t>(items * between(random, 0.7, 2.5) / nodes + 0.5));
  }
  p.network = random_network(random, nodes);
  std::vector<home_trace> fit, held;
  for (uint32_t h = 0; h < homes; ++h) {
    auto rate = between(random, 0.1, 2);
    auto halves = split_trace(random_trace(random, shape, 160));
    fit.push_back({h, rate, halves.fit});
    held.push_back({h, rate, halves.held_out});
  }
  p.fit = join_traffic(nodes, fit);
  p.held_out = join_traffic(nodes, held);
  p.options.prompt_tokens = static_cast<uint32_t>(random() % 3 * 20);
  p.options.answer_tokens = 50;
  p.options.sessions = 1 + static_cast<double>(random() % 4);
  p.options.search_moves = 60;
  p.options.seed = random();
  return p;
}

} // namespace coel::policy::testing
