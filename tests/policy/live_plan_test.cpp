// From what nodes say of themselves to a plan.
#include "policy/live_plan.hpp"
#include "policy/planner.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>
#include <set>

using namespace coel;
using namespace coel::policy;

namespace {

model_demand small_model() {
  model_demand m;
  m.name = "small";
  m.layers = 4;
  m.experts = 18;
  m.slices = 2;
  m.top_k = 6;
  m.expert_bytes = 1 << 20;
  m.dense_layer_bytes = 1 << 20;
  m.head_bytes = 8 << 20;
  m.wire_row_bytes = 1024;
  return m;
}

live_cluster random_cluster(uint64_t seed) {
  std::mt19937_64 random(seed);
  live_cluster c;
  c.model = small_model();
  auto nodes = static_cast<uint32_t>(random() % 5 + 1);
  uint64_t room = 0;
  for (uint32_t n = 0; n < nodes; ++n) {
    live_node x;
    x.key = x.name = "node " + std::to_string(n);
    x.home = n == 0 || random() % 2;
    x.room = random() % (c.model.items() + 1);
    if (random() % 2)
      x.speed = {50.0 + static_cast<double>(random() % 300), 5};
    if (random() % 2)
      x.dense = {40, 3, 300};
    if (random() % 2)
      x.use.assign(c.model.items(), 0.3);
    if (random() % 2)
      x.tokens_per_s = static_cast<double>(random() % 32);
    room += x.room;
    c.nodes.push_back(x);
  }
  if (room < c.model.items())
    c.nodes.front().room = c.model.items();
  c.network = network_facts(nodes, {300, 100});
  c.options.search_moves = 500;
  return c;
}

} // namespace

BOOST_AUTO_TEST_SUITE(live_plans)

BOOST_AUTO_TEST_CASE(whatever_is_known_a_plan_covers_and_fits) {
  for (uint64_t seed = 1; seed <= 60; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      auto c = random_cluster(seed);
      auto problem = problem_of(c);
      auto plan = plan_cluster(problem);
      BOOST_REQUIRE_MESSAGE(plan.ok(), (plan.ok() ? "" : plan.err().message));
      const auto& map = plan->placement.best().map;
      BOOST_TEST(map.covered());
      for (uint32_t n = 0; n < c.nodes.size(); ++n)
        BOOST_TEST(map.count(n) <= c.nodes[n].room);
      BOOST_TEST(plan->placement.best().decode.us > 0);
      auto again = plan_cluster(problem_of(c));
      BOOST_TEST((again->placement.best().map == map));
      auto price = price_of(problem, map);
      BOOST_TEST(price.decode.missing == 0);
    }
}

BOOST_AUTO_TEST_CASE(drawn_tokens_follow_popularity_and_take_every_slice) {
  auto m = small_model();
  std::vector<double> use(m.items(), 0.1);
  for (uint32_t l = 0; l < m.layers; ++l)
    use[l * m.experts + 3] = 2;
  auto trace = trace_by_use(m, use, 400, 1);
  BOOST_TEST(trace.tokens() == 400u);
  std::vector<size_t> count(m.experts);
  for (size_t t = 0; t < trace.tokens(); ++t)
    for (uint32_t l = 0; l < m.layers; ++l) {
      std::set<uint16_t> distinct(trace.at(t, l).begin(), trace.at(t, l).end());
      BOOST_TEST(distinct.size() == m.top_k);
      for (auto e : distinct)
        ++count[e];
    }
  for (uint32_t e = 0; e < m.experts; ++e)
    if (e >= 16)
      BOOST_TEST(count[e] == 1600u);
    else if (e != 3)
      BOOST_TEST(count[3] > 2 * count[e], e);
}

BOOST_AUTO_TEST_CASE(what_one_node_has_not_measured_is_as_others_have_it) {
  auto c = random_cluster(1);
  c.nodes.resize(1);
  c.nodes[0].speed = {70, 7};
  c.nodes[0].dense = {33, 2, 200};
  c.nodes.push_back({"new", "new", false, 0, 72, {}, {}, 0, 0, {}, {}});
  c.network = network_facts(2, {300, 100});
  auto p = problem_of(c);
  BOOST_TEST(p.nodes[1].measured->expert.expert_us == 70);
  BOOST_TEST(p.nodes[1].measured->layer_us == 33);
  c.nodes[0].speed = {};
  BOOST_TEST(problem_of(c).nodes[0].measured->expert.expert_us > 0);
}

BOOST_AUTO_TEST_CASE(one_node_that_holds_all_is_not_split_over_a_slow_link) {
  auto c = random_cluster(1);
  c.nodes.resize(1);
  c.nodes[0].home = true;
  c.nodes[0].room = c.model.items();
  c.nodes[0].speed = {100, 10};
  c.nodes.push_back({"far", "far", false, 0, 72, {100, 10}, {}, 0, 0, {}, {}});
  c.network = network_facts(2, {20'000, 10});
  auto plan = plan_cluster(problem_of(c));
  BOOST_REQUIRE(plan.ok());
  BOOST_TEST((plan->kind == plan_kind::alone));
  BOOST_TEST(plan->why.find("alone") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_home_that_holds_what_a_session_uses_is_cheaper_for_it) {
  auto c = random_cluster(1);
  c.nodes.resize(1);
  c.nodes[0] = {"a", "a", true, 0, 72, {100, 10}, {40, 3, 300}, 0, 0, {}, {}};
  c.nodes.push_back(c.nodes[0]);
  c.network = network_facts(2, {2000, 100});
  routing_trace probe; // every token uses experts 0 to 3 of a layer
  probe.shape = {4, 16, 4};
  std::vector<uint16_t> path;
  for (uint32_t i = 0; i < 16; ++i)
    path.push_back(static_cast<uint16_t>(i % 4));
  for (int t = 0; t < 32; ++t)
    probe.append(path, 0);
  expert_map held{2, 4, 18};
  for (uint32_t l = 0; l < 4; ++l)
    for (uint32_t e = 0; e < 18; ++e) // the first of a layer on the second node, slices on both
      held.hosts[held.item(l, e)] = e >= 16 ? 3 : e < 8 ? 2 : 1;
  auto prices = price_homes(c, held, probe, 32);
  BOOST_REQUIRE_EQUAL(prices.size(), 2u);
  BOOST_TEST(prices[0].token_us > prices[1].token_us + 4 * 1500); // a round in every layer
  BOOST_TEST(prices[1].again_us > 0);
}

BOOST_AUTO_TEST_SUITE_END()
