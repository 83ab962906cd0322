// Whatever the nodes: every expert has a place, every copy fits, shapes are kept, and the plan
// chosen is the best of those tried.
#include "plan_support.hpp"
#include "policy/placement.hpp"
#include "policy/placement_candidates.hpp"
#include "policy/placement_search.hpp"
#include "policy/session_homing.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <numeric>

using namespace coel;
using namespace coel::policy;
using namespace coel::policy::testing;

namespace {

bool within_rooms(const expert_map& map, const std::vector<uint64_t>& room) {
  for (uint32_t s = 0; s < map.nodes; ++s)
    if (map.count(s) > room[s])
      return false;
  return true;
}

/// Each node's experts of a layer within a fifth (or one) of its even part.
bool horizontal(const expert_map& map) {
  for (uint32_t s = 0; s < map.nodes; ++s) {
    double even = static_cast<double>(map.count(s)) / map.layers;
    for (uint32_t l = 0; l < map.layers; ++l) {
      double have = 0;
      for (uint32_t e = 0; e < map.experts; ++e)
        have += map.holds(s, map.item(l, e));
      if (std::abs(have - even) > std::max(1.0, 0.2 * even) + 1e-9)
        return false;
    }
  }
  return true;
}

} // namespace

BOOST_AUTO_TEST_SUITE(placements)

BOOST_AUTO_TEST_CASE(without_room_for_all_homes_read_the_rest) {
  uint32_t planned = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = random_problem(random);
      uint64_t all = 0;
      for (auto& r : p.room)
        all += r = std::min<uint64_t>(r * 7 / 10, p.model.items());
      if (all >= p.model.items())
        continue;
      ++planned;
      BOOST_TEST(!plan_placement(p).ok());
      for (auto& n : p.nodes)
        n.read_us = 2000;
      auto plan = plan_placement(p);
      BOOST_REQUIRE_MESSAGE(plan.ok(), (plan.ok() ? "" : plan.err().message));
      for (const auto& c : plan->candidates)
        BOOST_TEST_CONTEXT(c.name) {
          BOOST_TEST(c.map.nodes == p.nodes.size());
          BOOST_TEST(within_rooms(c.map, p.room));
          auto nobodys = static_cast<uint64_t>(
              std::count(c.map.hosts.begin(), c.map.hosts.end(), node_set{0}));
          BOOST_TEST(nobodys == p.model.items() - all);
          if (c.eligible)
            BOOST_TEST(plan->best().request_us <= c.request_us);
        }
      BOOST_TEST(plan->why.find("have no room") != std::string::npos);
    }
  BOOST_TEST(planned > 50u);
}

BOOST_AUTO_TEST_CASE(reading_is_priced) {
  std::mt19937_64 random(7);
  auto p = random_problem(random);
  while (p.fit.homes().size() > 1)
    p = random_problem(random);
  expert_map map(static_cast<uint32_t>(p.nodes.size()), p.model.layers, p.model.experts);
  std::fill(map.hosts.begin(), map.hosts.end(), only(p.fit.homes().front()));
  map.hosts[0] = 0; // of layer 0: at most one read a token
  auto us = [&](double read_us) {
    for (auto& n : p.nodes)
      n.read_us = read_us;
    auto cost = cost_model(p.model, p.nodes, p.network).decode(map, p.held_out);
    BOOST_TEST(cost.missing > 0);
    return std::pair(cost.us, cost.missing);
  };
  auto [slow, missing] = us(5000);
  auto [fast, same] = us(1000);
  BOOST_TEST(missing == same);
  BOOST_TEST(slow - fast == 4000 * missing, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(plans_cover_and_fit_and_take_the_best) {
  uint32_t planned = 0, refused = 0;
  for (uint64_t seed = 1; seed <= 1500; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = random_problem(random);
      p.options.home_by_prompt = seed % 3 == 0;
      p.options.shape = seed % 4 == 1 ? plan_shape::horizontal : plan_shape::automatic;
      auto plan = plan_placement(p);
      auto room = std::accumulate(p.room.begin(), p.room.end(), uint64_t{0});
      std::vector<uint64_t> usable;
      for (auto r : p.room)
        usable.push_back(std::min<uint64_t>(r, p.model.items()));
      room = std::accumulate(usable.begin(), usable.end(), uint64_t{0});
      BOOST_REQUIRE_EQUAL(plan.ok(), room >= p.model.items());
      if (!plan) {
        ++refused;
        BOOST_TEST((plan.err().code == ec::out_of_memory));
        continue;
      }
      ++planned;
      for (const auto& c : plan->candidates)
        BOOST_TEST_CONTEXT(c.name) {
          BOOST_TEST(c.map.covered());
          BOOST_TEST(within_rooms(c.map, usable));
          BOOST_TEST(c.decode.missing == 0);
          if (c.eligible)
            BOOST_TEST(plan->best().request_us <= c.request_us);
          if (c.eligible && p.options.shape == plan_shape::horizontal)
            BOOST_TEST(horizontal(c.map));
        }
      BOOST_TEST(plan->best().eligible);
    }
  BOOST_TEST(planned > 800u);
  BOOST_TEST(refused > 20u);
}

BOOST_AUTO_TEST_CASE(candidates_cover_and_fit_ten_thousand_times) {
  for (uint64_t seed = 1; seed <= 10'000; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      routing_shape shape{static_cast<uint32_t>(1 + random() % 3),
                          static_cast<uint32_t>(3 + random() % 6), 2};
      auto nodes = static_cast<uint32_t>(1 + random() % 5);
      std::vector<uint64_t> room(nodes);
      uint64_t items = uint64_t{shape.layers} * shape.experts, sum = 0;
      for (auto& r : room)
        sum += r = std::min<uint64_t>(items, random() % (2 * items / nodes + 2));
      if (sum < items)
        room[random() % nodes] = items;
      std::vector<home_trace> homes{{0, 1, random_trace(random, shape, 12)}};
      if (nodes > 2)
        homes.push_back({2, 0.5, random_trace(random, shape, 12)});
      auto traffic = join_traffic(nodes, homes);
      auto in = make_inputs(traffic, room);
      std::vector<std::string> keys{"a", "b", "c", "d", "e"};
      expert_map maps[] = {place_random(in, random), place_rendezvous(in, keys),
                           place_popularity(in),     place_sweep(in, 2),
                           place_layers(in),         place_hull(in)};
      for (const auto& m : maps) {
        BOOST_REQUIRE(m.covered());
        BOOST_REQUIRE(within_rooms(m, room));
      }
      BOOST_REQUIRE(horizontal(maps[2]));
      BOOST_REQUIRE(horizontal(maps[3]));
    }
}

BOOST_AUTO_TEST_CASE(the_same_problem_gives_the_same_plan) {
  for (uint64_t seed = 1; seed <= 20; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 a(seed), b(seed);
      auto one = plan_placement(random_problem(a)), two = plan_placement(random_problem(b));
      BOOST_REQUIRE_EQUAL(one.ok(), two.ok());
      if (one)
        BOOST_TEST((one->best().map == two->best().map));
    }
}

BOOST_AUTO_TEST_CASE(search_gains_on_what_it_sees_and_keeps_rooms) {
  for (uint64_t seed = 1; seed <= 60; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto p = random_problem(random);
      cost_model costs(p.model, p.nodes, p.network);
      for (auto& r : p.room)
        r = std::min<uint64_t>(r, p.model.items());
      if (std::accumulate(p.room.begin(), p.room.end(), uint64_t{0}) < p.model.items())
        continue;
      auto start = place_random(make_inputs(p.fit, p.room), random);
      auto found = search_placement(costs, p.fit, start, p.room, {2000, 0.3, 0, seed});
      BOOST_TEST(found.covered());
      BOOST_TEST(within_rooms(found, p.room));
      BOOST_TEST(costs.decode(found, p.fit).us <= costs.decode(start, p.fit).us + 1e-6);
    }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_says_what_is_missing) {
  std::mt19937_64 random(1);
  auto p = random_problem(random);
  p.room.assign(p.nodes.size(), 0);
  p.room[0] = p.model.items() / 2;
  auto plan = plan_placement(p);
  BOOST_REQUIRE(!plan);
  auto missing = p.model.items() - p.room[0];
  char gb[32];
  std::snprintf(gb, sizeof gb, "%.2f GB are missing", 1e-9 * 1e6 * static_cast<double>(missing));
  BOOST_TEST(plan.err().message.find(gb) != std::string::npos, plan.err().message);
  BOOST_TEST(plan.err().message.find("fewer bits") != std::string::npos, plan.err().message);
}

BOOST_AUTO_TEST_CASE(prompts_find_the_home_that_has_their_experts) {
  // Two kinds of session that share no expert, two nodes with room for half the experts each.
  routing_shape shape{3, 8, 2};
  std::mt19937_64 random(5);
  routing_trace trace{shape, {}, {}};
  for (uint32_t s = 0; s < 24; ++s)
    for (int t = 0; t < 30; ++t) {
      std::vector<uint16_t> path;
      for (uint32_t l = 0; l < shape.layers; ++l) {
        auto first = static_cast<uint16_t>(random() % 4);
        auto base = static_cast<uint16_t>(s % 2 * 4);
        path.push_back(static_cast<uint16_t>(base + first));
        path.push_back(static_cast<uint16_t>(base + (first + 1) % 4));
      }
      trace.append(path, s);
    }
  home_traffic traffic{trace, {}, {0.5, 0.5}};
  for (auto s : trace.session) // entry nodes have nothing to do with what is asked
    traffic.home.push_back(static_cast<uint16_t>(s / 2 % 2));
  std::vector<uint64_t> room{12, 12};
  std::vector<uint32_t> homes{0, 1};
  auto map = place_popularity(make_inputs(cluster_sessions(traffic, room, homes, 3), room));
  cost_model costs(small_model(shape), {node_facts{}, node_facts{}}, network_facts(2));
  auto matched = costs.decode(map, home_by_prompt(traffic, map, homes));
  auto entry = costs.decode(map, traffic);
  BOOST_TEST(matched.rounds == 0);
  BOOST_TEST(entry.rounds > 1);
}

BOOST_AUTO_TEST_CASE(several_models_share_the_memory_of_the_nodes) {
  std::mt19937_64 random(9);
  std::vector<shared_model> models;
  std::vector<node_facts> nodes;
  for (uint32_t n = 0; n < 3; ++n) {
    nodes.push_back(random_node(random, n));
    nodes.back().memory_bytes = 90'000'000;
  }
  for (auto shape : {routing_shape{3, 12, 2}, routing_shape{2, 16, 4}}) {
    placement_problem p;
    p.model = small_model(shape);
    p.nodes = nodes;
    p.network = random_network(random, 3);
    auto halves = split_trace(random_trace(random, shape, 200));
    home_trace fit{0, 1, halves.fit}, held{0, 1, halves.held_out};
    p.fit = join_traffic(3, {&fit, 1});
    p.held_out = join_traffic(3, {&held, 1});
    p.options.search_moves = 100;
    models.push_back({p, 1.0});
  }
  auto plans = plan_models(models);
  BOOST_REQUIRE_MESSAGE(plans.ok(), (plans.ok() ? std::string() : plans.err().message));
  for (size_t n = 0; n < 3; ++n) {
    uint64_t used = 0;
    for (const auto& plan : *plans)
      used += plan.memory_bytes[n];
    BOOST_TEST(used <= static_cast<uint64_t>(90e6 * 0.9));
  }
  for (const auto& plan : *plans)
    BOOST_TEST(plan.best().map.covered());
  for (auto& m : models)
    for (auto& n : m.problem.nodes)
      n.memory_bytes = 25'000'000;
  auto none = plan_models(models);
  BOOST_REQUIRE(!none);
  BOOST_TEST((none.err().code == ec::out_of_memory));
}

BOOST_AUTO_TEST_CASE(a_session_moves_only_where_it_gains) {
  auto best = [](double there_us, double again_us, double here_sessions, double there_sessions,
                 double tokens) {
    const home_offer offers[] = {{3, 1000, 400, 0, here_sessions},
                                 {5, there_us, 400, again_us, there_sessions}};
    return best_home(offers, tokens);
  };
  BOOST_TEST(best(1000, 0, 0, 0, 100) == 3u);
  BOOST_TEST(best(900, 0, 0, 0, 100) == 3u); // too little to trust
  BOOST_TEST(best(700, 0, 0, 0, 100) == 5u);
  BOOST_TEST(best(700, 20'000, 0, 0, 100) == 3u); // the prompt again costs more
  BOOST_TEST(best(700, 20'000, 0, 0, 1000) == 5u);
  BOOST_TEST(best(1000, 0, 2, 0, 100) == 5u); // less crowded
  BOOST_TEST(best(700, 0, 0, 2, 100) == 3u);
  // where both run experts on the same nodes, moving splits a batch in two and frees nobody
  for (double sessions : {1.0, 3.0, 7.0}) {
    home_offer shared[] = {{3, 1000, 400, 0, sessions, {600, 400}},
                           {5, 1000, 400, 0, 0, {400, 600}}};
    BOOST_TEST(best_home(shared, 100) == 3u);
    shared[0].busy_us = {1000, 0};
    shared[1].busy_us = {0, 1000}; // each on its own node
    BOOST_TEST(best_home(shared, 100) == 5u);
  }
  // nor where it is soonest for itself alone: the many here would wait for the other home's steps
  home_offer selfish[] = {{3, 1000, 200, 0, 15, {850, 150}}, {5, 1500, 200, 0, 0, {0, 1500}}};
  BOOST_TEST(best_home(selfish, 100) == 3u);
  selfish[0].busy_us = {1000, 0};
  BOOST_TEST(best_home(selfish, 100) == 5u);
  // a home where another session costs nothing keeps all
  const home_offer batched[] = {{3, 1000, 0, 0, 7}, {5, 1000, 0, 0, 0}};
  BOOST_TEST(best_home(batched, 100) == 3u);
  const home_offer alone[] = {{3, 1000, 400, 0, 9}};
  BOOST_TEST(best_home(alone, 100) == 3u);
}

BOOST_AUTO_TEST_SUITE_END()
