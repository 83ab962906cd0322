#include "bench/placement/tables.hpp"
#include "policy/placement.hpp"
#include "policy/region.hpp"
#include "policy/replica_simulator.hpp"
#include "policy/synthetic_routing.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <set>

namespace coel::bench {

namespace {

using namespace coel::policy;
/// Of this program's own time: what else the machine does is not counted.
double ms_since(std::clock_t start) {
  return 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

double unit(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

/// Qwen1.5-MoE-A2.7B at 4 bits.
model_demand qwen() {
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

node_facts node(std::mt19937_64& random, uint32_t number) {
  node_facts n;
  n.name = "node-" + std::to_string(number);
  n.read_bytes_us = 8000 + 40'000 * unit(random);
  n.macs_us = 30'000 + 250'000 * unit(random);
  n.utilisation = 0.5 * unit(random);
  n.memory_bytes = static_cast<uint64_t>(1e9 * (1 + 3 * unit(random)));
  return n;
}

void time_placement() {
  std::mt19937_64 random(1);
  constexpr uint32_t nodes = 16;
  placement_problem p;
  p.model = qwen();
  p.network = network_facts(nodes);
  std::vector<home_trace> fit, held;
  synthetic_routing made({{24, 60, 4}, routing_regime::medium, 8, -1, 1});
  for (uint32_t n = 0; n < nodes; ++n) {
    p.nodes.push_back(node(random, n));
    if (n < 4)
      p.nodes.back().memory_bytes += 3'000'000'000;
    for (uint32_t b = 0; b < n; ++b)
      p.network.set(n, b, {200 + 2000 * unit(random), 12.5 + 112 * unit(random)});
    if (n >= 4)
      continue;
    fit.push_back({n, 1.0, made.trace(20, 50, {}, 10 + n)});
    held.push_back({n, 1.0, made.trace(20, 50, {}, 50 + n)});
  }
  p.fit = join_traffic(nodes, fit);
  p.held_out = join_traffic(nodes, held);
  for (bool homing : {false, true}) {
    p.options.home_by_prompt = homing;
    auto start = std::clock();
    auto plan = plan_placement(p);
    std::printf("24 x 60 experts on 16 unlike nodes, 4 homes%s: %s in %.0f ms of one core\n",
                homing ? ", homing by prompt" : "",
                plan ? plan->best().name.c_str() : plan.err().message.c_str(), ms_since(start));
  }
}

/// Nodes at random places of a square that grows with them, linked to whom is near: each node knows
/// its neighbours and theirs.
void time_regions() {
  std::printf("\n| nodes in the network | candidates of a home, mean | region chosen in, mean ms | "
              "p95 ms |\n| --- | --- | --- | --- |\n");
  for (uint32_t size : {100u, 300u, 1000u, 3000u, 10'000u}) {
    std::mt19937_64 random(size);
    double side = std::sqrt(size), reach = 1.5; // about seven neighbours
    std::vector<std::pair<double, double>> at(size);
    for (auto& [x, y] : at) {
      x = side * unit(random);
      y = side * unit(random);
    }
    std::vector<node_facts> nodes;
    for (uint32_t n = 0; n < size; ++n)
      nodes.push_back(node(random, n));
    auto near = [&](uint32_t n) {
      std::vector<uint32_t> out;
      for (uint32_t m = 0; m < size; ++m)
        if (m != n && std::hypot(at[n].first - at[m].first, at[n].second - at[m].second) < reach)
          out.push_back(m);
      return out;
    };
    std::vector<double> times;
    double candidates = 0, sum = 0;
    constexpr uint32_t homes = 40;
    for (uint32_t i = 0; i < homes; ++i) {
      auto home = static_cast<uint32_t>(random() % size);
      std::set<uint32_t> known;
      for (auto m : near(home)) {
        known.insert(m);
        for (auto k : near(m))
          known.insert(k);
      }
      known.erase(home);
      region_problem r{qwen(), {nodes[home]}, {{}}, mass_curve(60), {}};
      r.nodes[0].memory_bytes += 2'700'000'000;
      for (auto k : known) {
        r.nodes.push_back(nodes[k]);
        double way = std::hypot(at[home].first - at[k].first, at[home].second - at[k].second);
        r.links.push_back({300 + 400 * way, 125 / (1 + way)});
      }
      auto start = std::clock();
      auto plan = choose_region(r);
      times.push_back(ms_since(start));
      sum += times.back();
      candidates += static_cast<double>(known.size());
    }
    std::sort(times.begin(), times.end());
    std::printf("| %u | %.1f | %.2f | %.2f |\n", size, candidates / homes, sum / homes,
                times[times.size() * 95 / 100]);
  }
}

} // namespace

void print_replicas(uint32_t seeds) {
  constexpr double rates[] = {30, 100, 180};
  std::printf("| mean / p95 ms |");
  for (double r : rates)
    std::printf(" %.0f dispatches/s a home |", r);
  std::printf("\n| --- | --- | --- | --- |\n");
  for (auto rule : all_replica_rules()) {
    std::printf("| %s |", std::string(to_string(rule)).c_str());
    for (double rate : rates) {
      double mean = 0, p95 = 0;
      for (uint32_t s = 1; s <= seeds; ++s) {
        auto r = simulate_replicas(rule, {s, 60, rate, 3, 4});
        mean += r.mean_ms / seeds;
        p95 += r.p95_ms / seeds;
      }
      std::printf(" %.1f / %.1f |", mean, p95);
    }
    std::printf("\n");
  }
}

void print_scale() {
  time_placement();
  time_regions();
}

} // namespace coel::bench
