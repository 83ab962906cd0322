// Ways through stages: all layers once and in order, no node twice, no dearer than any other way
// over the same map, and taken where links are slow.
#include "plan_support.hpp"
#include "policy/planner.hpp"
#include "policy/stage_way.hpp"

#include <boost/test/unit_test.hpp>

#include <set>

using namespace coel;
using namespace coel::policy;
using namespace coel::policy::testing;

namespace {

constexpr routing_shape shape{6, 12, 3};

/// Two to five homes with room for 0.4 to 1 of the model each, together for all of it.
placement_problem homes(std::mt19937_64& random) {
  placement_problem p;
  p.model = small_model(shape);
  auto nodes = static_cast<uint32_t>(2 + random() % 4);
  std::vector<home_trace> fit, held;
  for (uint32_t n = 0; n < nodes; ++n) {
    auto node = random_node(random, n);
    auto room = between(random, 0.4, 1) * static_cast<double>(p.model.items());
    node.room = std::max<uint64_t>(static_cast<uint64_t>(room), p.model.items() / nodes + 1);
    p.nodes.push_back(node);
    auto halves = split_trace(random_trace(random, shape, 60));
    double weight = n ? between(random, 0.05, 1) : 1;
    fit.push_back({n, weight, halves.fit});
    held.push_back({n, weight, halves.held_out});
  }
  p.network = random_network(random, nodes);
  p.fit = join_traffic(nodes, fit);
  p.held_out = join_traffic(nodes, held);
  p.options.search_moves = 100;
  return p;
}

std::vector<uint64_t> rooms(const placement_problem& p) {
  std::vector<uint64_t> out;
  for (const auto& n : p.nodes)
    out.push_back(*n.room);
  return out;
}

void check_way(const std::vector<stage>& stages, uint32_t nodes) {
  uint32_t next = 0;
  std::set<uint32_t> seen;
  for (const auto& s : stages) {
    BOOST_TEST(s.first_layer == next);
    BOOST_TEST(s.layers > 0u);
    BOOST_TEST(s.node < nodes);
    BOOST_TEST(seen.insert(s.node).second);
    next += s.layers;
  }
  BOOST_TEST(next == shape.layers);
}

} // namespace

BOOST_AUTO_TEST_SUITE(stage_ways)

BOOST_AUTO_TEST_CASE(maps_for_stages_cover_the_model_and_fit) {
  uint32_t made = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = homes(random);
      cost_model costs(p.model, p.nodes, p.network);
      for (bool even : {false, true})
        if (auto map = place_stages(costs, p.held_out, rooms(p), even)) {
          ++made;
          BOOST_TEST(map->covered());
          for (uint32_t n = 0; n < p.nodes.size(); ++n)
            BOOST_TEST(map->count(n) <= *p.nodes[n].room);
        }
    }
  BOOST_TEST(made > 100u);
}

BOOST_AUTO_TEST_CASE(a_way_has_all_layers_in_order_and_is_no_dearer_than_any_of_two_stages) {
  uint32_t several = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = homes(random);
      cost_model costs(p.model, p.nodes, p.network);
      auto map = place_stages(costs, p.held_out, rooms(p), seed % 2);
      if (!map)
        continue;
      auto nodes = static_cast<uint32_t>(p.nodes.size());
      auto found = find_way(costs, *map, p.held_out);
      if (!found)
        continue;
      ++several;
      auto way = price_way(costs, *map, p.held_out, p.options, found->stages);
      check_way(way.stages, nodes);
      for (uint32_t a = 0; a < nodes; ++a)
        for (uint32_t b = 0; b < nodes; ++b)
          for (uint32_t cut = 1; cut < shape.layers && a != b; ++cut) {
            auto other = price_way(costs, *map, p.held_out, p.options,
                                   {{a, 0, cut}, {b, cut, shape.layers - cut}});
            BOOST_TEST(way.decode.us <= 1.02 * other.decode.us); // chosen by fewer tokens
          }
    }
  BOOST_TEST(several > 50u);
}

BOOST_AUTO_TEST_CASE(one_node_for_all_layers_is_no_way_but_stages_that_are_asked_for_have_two) {
  uint32_t none = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = homes(random);
      cost_model costs(p.model, p.nodes, p.network);
      expert_map everywhere(static_cast<uint32_t>(p.nodes.size()), shape.layers, shape.experts);
      for (auto& hosts : everywhere.hosts)
        hosts = only(static_cast<uint32_t>(p.nodes.size())) - 1;
      auto free = find_way(costs, everywhere, p.held_out);
      none += !free;
      auto pinned = find_way(costs, everywhere, p.held_out, true);
      BOOST_REQUIRE(pinned.has_value());
      BOOST_TEST(pinned->stages.size() >= 2u);
      check_way(pinned->stages, static_cast<uint32_t>(p.nodes.size()));
    }
  BOOST_TEST(none > 30u);
}

BOOST_AUTO_TEST_CASE(slow_links_bring_stages_and_fast_ones_do_not_have_to) {
  uint32_t slow = 0, planned = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = homes(random);
      p.network = network_facts(static_cast<uint32_t>(p.nodes.size()), {20'000, 1.25});
      for (auto& n : p.nodes)
        n.room = p.model.items() / p.nodes.size() + shape.experts; // nobody can do it alone
      auto plan = plan_cluster(p);
      if (!plan || p.nodes.size() < 3) // of two nodes, one may have nearly all that is used
        continue;
      ++planned;
      slow += plan->kind == plan_kind::stages;
      if (plan->kind != plan_kind::stages)
        continue;
      check_way(plan->way->stages, static_cast<uint32_t>(p.nodes.size()));
      BOOST_TEST(plan->why.find("stages") != std::string::npos);
      for (const auto& c : plan->placement.candidates)
        if (c.eligible)
          BOOST_TEST(plan->placement.best().request_us <= c.request_us);
    }
  BOOST_TEST(planned > 20u);
  BOOST_TEST(slow == planned);
}

BOOST_AUTO_TEST_CASE(a_shape_that_is_asked_for_is_kept_to) {
  for (uint64_t seed = 1; seed <= 40; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = homes(random);
      p.options.shape = plan_shape::stages;
      auto pinned = plan_cluster(p);
      if (pinned)
        BOOST_TEST((pinned->way.has_value() == (pinned->kind == plan_kind::stages)));
      for (auto other : {plan_shape::layers, plan_shape::horizontal}) {
        p.options.shape = other;
        auto plan = plan_cluster(p);
        if (plan)
          BOOST_TEST((plan->kind != plan_kind::stages));
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
