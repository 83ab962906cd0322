// The cost model splits as gates do, and its closed form agrees with it where it may.
#include "plan_support.hpp"
#include "policy/cost_model.hpp"
#include "policy/dispatch_split.hpp"
#include "policy/placement_candidates.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>

using namespace coel;
using namespace coel::policy;
using namespace coel::policy::testing;

namespace {

std::map<node_id, host_cost> as_gates_see(const cost_model& costs, uint32_t home) {
  std::map<node_id, host_cost> out;
  for (uint32_t s = 0; s < costs.nodes().size(); ++s) {
    const auto& l = costs.lane(home, s);
    out[node_id{s}] = {l.fixed_us, l.wire_us_per_row, l.speed};
  }
  return out;
}

expert_map random_map(std::mt19937_64& random, uint32_t nodes, routing_shape shape) {
  expert_map map(nodes, shape.layers, shape.experts);
  for (auto& h : map.hosts)
    h = 1 + random() % ((node_set{1} << nodes) - 1);
  return map;
}

home_traffic one_home(uint32_t nodes, uint32_t home, routing_trace trace) {
  home_trace h{home, 1, std::move(trace)};
  return join_traffic(nodes, {&h, 1});
}

} // namespace

BOOST_AUTO_TEST_SUITE(cost_models)

BOOST_AUTO_TEST_CASE(a_layer_is_split_as_gates_split_it) {
  for (uint64_t seed = 1; seed <= 400; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto nodes = static_cast<uint32_t>(1 + random() % 6);
      routing_shape shape{2, static_cast<uint32_t>(6 + random() % 20), 4};
      std::vector<node_facts> facts;
      for (uint32_t n = 0; n < nodes; ++n)
        facts.push_back(random_node(random, n));
      cost_model costs(small_model(shape), facts, random_network(random, nodes));
      auto map = random_map(random, nodes, shape);
      auto home = static_cast<uint32_t>(random() % nodes);
      std::map<node_id, bitmap> holds;
      auto by_node = map.by_node();
      for (uint32_t s = 0; s < nodes; ++s)
        holds[node_id{s}] = by_node[s];
      routing_table table(shape.layers, shape.experts, holds, 1);
      auto seen = as_gates_see(costs, home);
      auto trace = random_trace(random, shape, 10);
      for (size_t t = 0; t < trace.tokens(); ++t) {
        std::vector<int32_t> ids(trace.at(t, 1).begin(), trace.at(t, 1).end());
        std::vector<float> weights(ids.size(), 0.25f);
        auto split = split_rows({&table, layer_id{1}, node_id{home}, &seen, nullptr},
                                group_by_expert(ids, weights, 1, shape.experts));
        auto sorted = ids; // gates group by rising expert
        std::sort(sorted.begin(), sorted.end());
        std::vector<uint16_t> chosen(sorted.begin(), sorted.end());
        auto cost = costs.layer(map, 1, chosen, home);
        node_set used = 0;
        for (const auto& h : split.hosts)
          used |= only(index(h.host));
        BOOST_TEST(cost.used == used);
        BOOST_TEST(std::abs(cost.us - split.predicted_us) < 1e-6 * (1 + split.predicted_us));
      }
    }
}

BOOST_AUTO_TEST_CASE(a_prompt_of_one_token_costs_what_a_token_costs) {
  for (uint64_t seed = 1; seed <= 50; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      routing_shape shape{3, 8, 3};
      auto nodes = static_cast<uint32_t>(2 + random() % 3);
      std::vector<node_facts> facts;
      for (uint32_t n = 0; n < nodes; ++n)
        facts.push_back(random_node(random, n));
      cost_model costs(small_model(shape), facts, random_network(random, nodes));
      auto map = random_map(random, nodes, shape);
      for (auto& h : map.hosts) // no choice, so that the order of experts does not matter
        h &= ~(h - 1);
      auto traffic = one_home(nodes, 0, random_trace(random, shape, 1));
      auto token = costs.decode(map, traffic);
      auto prompt = costs.prompt(map, traffic, 1);
      BOOST_TEST(prompt.rounds == token.rounds);
      BOOST_TEST(prompt.bytes == token.bytes);
      BOOST_TEST(prompt.us >= token.us - 1e-6);
      if (token.messages <= token.rounds + 1e-9)
        BOOST_TEST(std::abs(prompt.us - token.us) < 1e-6 * token.us);
    }
}

BOOST_AUTO_TEST_CASE(everything_at_home_takes_no_rounds) {
  std::mt19937_64 random(3);
  routing_shape shape{4, 10, 2};
  std::vector<node_facts> facts{random_node(random, 0), random_node(random, 1)};
  cost_model costs(small_model(shape), facts, network_facts(2));
  expert_map map(2, 4, 10);
  for (auto& h : map.hosts)
    h = only(0);
  auto traffic = one_home(2, 0, random_trace(random, shape, 40));
  auto c = costs.decode(map, traffic);
  const auto& s = costs.lane(0, 0).speed;
  BOOST_TEST(c.rounds == 0);
  BOOST_TEST(c.bytes == 0);
  BOOST_TEST(std::abs(c.us - costs.dense_token_us(0) - 4 * 2 * (s.expert_us + s.row_us)) < 1e-6);
  std::vector<uint32_t> homes{0};
  auto bytes = costs.memory_bytes(map, homes);
  BOOST_TEST(bytes[0] == 40u * 1'000'000 + costs.model().home_bytes());
  BOOST_TEST(bytes[1] == 0u);
}

BOOST_AUTO_TEST_CASE(the_closed_form_is_near_the_average_where_experts_are_independent) {
  double worst = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 random(seed);
    auto nodes = static_cast<uint32_t>(2 + random() % 4);
    routing_shape shape{4, 40, 4};
    std::vector<node_facts> facts;
    for (uint32_t n = 0; n < nodes; ++n)
      facts.push_back(random_node(random, n));
    cost_model costs(small_model(shape), facts, random_network(random, nodes));
    expert_map map(nodes, shape.layers, shape.experts);
    for (auto& h : map.hosts)
      h = only(static_cast<uint32_t>(random() % nodes));
    auto traffic = one_home(nodes, 0, random_trace(random, shape, 400));
    auto exact = costs.decode(map, traffic).us;
    auto pop = make_inputs(traffic, std::vector<uint64_t>(nodes, 160)).common;
    worst = std::max(worst, std::abs(costs.decode_closed_form_us(map, pop, 0) / exact - 1));
  }
  BOOST_TEST(worst < 0.12);
}

BOOST_AUTO_TEST_CASE(a_step_of_several_sessions_costs_more_than_one_and_less_than_all_in_turn) {
  for (uint64_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto nodes = static_cast<uint32_t>(1 + random() % 4);
      routing_shape shape{4, 16, 3};
      std::vector<node_facts> facts;
      for (uint32_t n = 0; n < nodes; ++n)
        facts.push_back(random_node(random, n));
      cost_model costs(small_model(shape), facts, random_network(random, nodes));
      auto map = random_map(random, nodes, shape);
      auto path = random_trace(random, shape, 1);
      routing_trace same{shape, {}, {}};
      for (uint32_t t = 0; t < 40; ++t) // all choose the same, so an average is each of them
        same.append(path.path(0), t);
      auto traffic = one_home(nodes, 0, same);
      double one = costs.decode(map, traffic).us;
      BOOST_TEST(costs.together_us(map, traffic, 1) == one,
                 boost::test_tools::tolerance(0.02)); // one card sends
      double before = one;
      for (double sessions : {2.0, 4.0, 8.0}) {
        double now = costs.together_us(map, traffic, sessions);
        BOOST_TEST(now >= before * (1 - 1e-9));
        BOOST_TEST(now <= sessions * one * (1 + 1e-9));
        before = now;
      }
    }
}

BOOST_AUTO_TEST_CASE(many_sessions_want_layers_shared_out) {
  routing_shape shape{8, 16, 4};
  auto model = small_model(shape);
  node_facts node;
  node.name = "n";
  node.memory_bytes = 100'000'000;
  node.read_bytes_us = 10'000;
  node.macs_us = 100'000;
  network_facts network(2, {900, 1250}); // 0.9 ms, 10 Gbit/s
  std::mt19937_64 random(3);
  placement_problem p;
  p.model = model;
  p.nodes = {node, node};
  p.network = network;
  p.fit = p.held_out = one_home(2, 0, random_trace(random, shape, 400));
  p.room = {model.items() / 2, model.items() / 2};
  cost_model costs(model, p.nodes, network);
  auto in = make_inputs(p.fit, p.room);
  auto few = place_layers(in), even = place_popularity(in);
  double together = costs.together_us(even, p.held_out, 16);
  BOOST_TEST(together < 0.85 * costs.together_us(few, p.held_out, 16));
  p.options.sessions = 16;
  p.options.prompt_tokens = 0;
  auto plan = plan_placement(p);
  BOOST_REQUIRE(plan.ok());
  BOOST_TEST(costs.together_us(plan->best().map, p.held_out, 16) <= together);
}

BOOST_AUTO_TEST_SUITE_END()
