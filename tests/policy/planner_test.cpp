// The whole decision: one node, a region, all nodes; memory kept; stages as what else there is.
#include "plan_support.hpp"
#include "policy/model_figures.hpp"
#include "policy/planner.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>

using namespace coel;
using namespace coel::policy;
using namespace coel::policy::testing;

namespace {

/// Memory for one and a half copies, more or less, over two to five nodes; node 0 is the home.
placement_problem random_cluster(std::mt19937_64& random) {
  routing_shape shape{4, 12, 3};
  placement_problem p;
  p.model = small_model(shape);
  auto nodes = static_cast<uint32_t>(2 + random() % 4);
  for (uint32_t n = 0; n < nodes; ++n) {
    p.nodes.push_back(random_node(random, n));
    p.nodes.back().memory_bytes = static_cast<uint64_t>(between(random, 10e6, 60e6));
  }
  p.nodes[0].memory_bytes += 20'000'000;
  p.network = random_network(random, nodes);
  auto halves = split_trace(random_trace(random, shape, 240));
  home_trace fit{0, 1, halves.fit}, held{0, 1, halves.held_out};
  p.fit = join_traffic(nodes, {&fit, 1});
  p.held_out = join_traffic(nodes, {&held, 1});
  p.options.search_moves = 200;
  return p;
}

} // namespace

BOOST_AUTO_TEST_SUITE(planners)

BOOST_AUTO_TEST_CASE(a_home_with_a_disk_reads_what_has_no_room) {
  uint32_t planned = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = random_cluster(random);
      for (auto& n : p.nodes)
        n.memory_bytes = n.memory_bytes * 6 / 10;
      if (plan_cluster(p) || expert_room(p.nodes[0], p.model, true) == 0)
        continue;
      ++planned;
      auto request_us = [&](double bytes_us) {
        p.nodes[0].store_bytes_us = bytes_us;
        auto plan = plan_cluster(p);
        BOOST_REQUIRE_MESSAGE(plan.ok(), (plan.ok() ? "" : plan.err().message));
        const auto& best = plan->placement.best();
        BOOST_TEST(!best.map.covered());
        BOOST_TEST(best.decode.missing > 0);
        for (uint32_t n = 0; n < p.nodes.size(); ++n)
          BOOST_TEST(plan->placement.memory_bytes[n] <= p.nodes[n].memory_bytes * 9 / 10 + 1);
        BOOST_TEST(plan->placement.why.find("have no room") != std::string::npos);
        return best.request_us;
      };
      BOOST_TEST(request_us(1000) < request_us(100)); // a slow disk is no gain
    }
  BOOST_TEST(planned > 10u);
}

BOOST_AUTO_TEST_CASE(plans_keep_to_the_memory_and_are_the_best_they_looked_at) {
  uint32_t alone = 0, several = 0, none = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = random_cluster(random);
      for (auto& n : p.nodes)
        n.runs_layers = seed % 2 && may_be_home(n, p.model);
      auto plan = plan_cluster(p);
      if (!plan) {
        ++none;
        BOOST_TEST((plan.err().code == ec::out_of_memory));
        continue;
      }
      const auto& best = plan->placement.best();
      BOOST_TEST(best.map.covered());
      for (uint32_t n = 0; n < p.nodes.size(); ++n) {
        BOOST_TEST(plan->placement.memory_bytes[n] <= p.nodes[n].memory_bytes * 9 / 10 + 1);
        if (!(plan->members >> n & 1))
          BOOST_TEST(best.map.count(n) == 0u);
      }
      if (plan->kind == plan_kind::alone) {
        ++alone;
        for (const auto& c : plan->placement.candidates)
          if (c.eligible)
            BOOST_TEST(0.9 * plan->alone_request_us <= c.request_us + 1e-6);
      } else {
        ++several;
        if (plan->alone_decode)
          BOOST_TEST(best.request_us <= 0.9 * plan->alone_request_us + 1e-6);
      }
      BOOST_TEST(!plan->why.empty());
    }
  BOOST_TEST(alone > 10u);
  BOOST_TEST(several > 10u);
}

BOOST_AUTO_TEST_CASE(one_fast_node_is_not_slowed_by_a_poor_network) {
  std::mt19937_64 random(4);
  auto p = random_cluster(random);
  p.nodes[0].memory_bytes = 500'000'000;
  p.network = network_facts(static_cast<uint32_t>(p.nodes.size())); // nobody measured it
  auto plan = plan_cluster(p);
  BOOST_REQUIRE(plan.ok());
  BOOST_TEST((plan->kind == plan_kind::alone));
  BOOST_TEST(plan->members == 1u);
  BOOST_TEST(plan->why.find("alone") != std::string::npos, plan->why);
}

BOOST_AUTO_TEST_CASE(on_a_slow_network_nodes_that_may_run_layers_do) {
  std::mt19937_64 random(5);
  auto p = random_cluster(random);
  while (p.nodes.size() != 2)
    p = random_cluster(random);
  for (auto& n : p.nodes) // each has room for three quarters of the experts, one layer in four away
    n.memory_bytes = (p.model.home_bytes() + p.model.expert_total_bytes() * 3 / 4) * 10 / 9 + 9;
  p.network = network_facts(2, {20'000, 1.25});
  auto helped = plan_cluster(p); // by a node that runs experts and nothing else
  BOOST_REQUIRE(helped.ok());
  BOOST_TEST(!helped->way.has_value());
  for (auto& n : p.nodes) {
    BOOST_TEST(may_be_home(n, p.model));
    n.runs_layers = true;
  }
  for (auto shape : {plan_shape::automatic, plan_shape::stages}) {
    p.options.shape = shape;
    auto plan = plan_cluster(p);
    BOOST_REQUIRE(plan.ok());
    BOOST_REQUIRE(plan->way.has_value());
    bool sooner = plan->way->request_us < 0.85 * helped->placement.best().request_us;
    BOOST_TEST((plan->kind == plan_kind::stages) == (sooner || shape == plan_shape::stages));
    if (plan->kind == plan_kind::stages)
      BOOST_TEST(plan->why.find("stages, ") != std::string::npos, plan->why);
    for (uint32_t n = 0; n < p.nodes.size(); ++n)
      BOOST_TEST(plan->placement.memory_bytes[n] <= p.nodes[n].memory_bytes);
  }
}

BOOST_AUTO_TEST_CASE(figures_of_a_known_model_are_its_own) {
  // Qwen1.5-MoE-A2.7B in 16 bits: POLICY 0.2
  model_figures f{"qwen", 24, 2048, 16, 16, 128, 60, 4, 1408, 5632, 4, 151'936, false, 2.0, 1000};
  auto d = demand_of(f);
  BOOST_TEST(d.experts == 64u);
  BOOST_TEST(d.top_k == 8u);
  BOOST_TEST(d.expert_bytes == 17'301'504u);
  BOOST_TEST(d.kv_bytes_per_token == 196'608u);
  BOOST_TEST(d.wire_row_bytes == 4096u);
  BOOST_TEST(std::abs(static_cast<double>(d.home_bytes()) / 2.25e9 - 1) < 0.1);
}

BOOST_AUTO_TEST_SUITE_END()
