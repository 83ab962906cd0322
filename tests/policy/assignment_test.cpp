// Every expert has a place, every copy fits, and nodes that know the same plan the same.
#include "policy/assignment.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

std::vector<holder> random_holders(std::mt19937& random, uint64_t items) {
  std::vector<holder> all(random() % 8 + 1);
  for (auto& h : all)
    h = {"node-" + std::to_string(random()), random() % (items + items / 4 + 1)};
  return all;
}

uint64_t room(const std::vector<holder>& all, uint64_t items) {
  uint64_t sum = 0;
  for (const auto& h : all)
    sum += std::min(h.room, items);
  return sum;
}

size_t copies(const assignment& a, size_t item) {
  size_t n = 0;
  for (const auto& p : a.plan)
    n += p.test(item);
  return n;
}

} // namespace

BOOST_AUTO_TEST_SUITE(assignments)

BOOST_AUTO_TEST_CASE(experts_are_covered_where_there_is_room_and_nobody_is_overfull) {
  for (uint32_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      uint32_t layers = random() % 6 + 1, experts = random() % 40 + 1;
      uint64_t items = uint64_t{layers} * experts;
      auto holders = random_holders(random, items);
      std::vector<double> popularity(items);
      for (auto& p : popularity)
        p = random() % 8;
      auto a = assign({layers, experts, holders, popularity});
      uint64_t space = room(holders, items), placed = 0;
      for (size_t h = 0; h < holders.size(); ++h) {
        BOOST_TEST(a.plan[h].count() <= holders[h].room);
        placed += a.plan[h].count();
      }
      BOOST_TEST(a.uncovered.size() == (space < items ? items - space : 0u));
      // Room is not left unused; only a node that holds everything has any left.
      BOOST_TEST(placed == space);
      if (space >= items)
        for (size_t i = 0; i < items; ++i)
          BOOST_TEST(copies(a, i) >= 1u);
    }
}

BOOST_AUTO_TEST_CASE(the_plan_depends_on_the_nodes_and_not_on_their_order) {
  for (uint32_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      auto holders = random_holders(random, 240);
      auto before = assign({4, 60, holders, {}});
      std::vector<size_t> order(holders.size());
      for (size_t i = 0; i < order.size(); ++i)
        order[i] = i;
      std::shuffle(order.begin(), order.end(), random);
      std::vector<holder> mixed;
      for (auto i : order)
        mixed.push_back(holders[i]);
      auto after = assign({4, 60, mixed, {}});
      for (size_t i = 0; i < order.size(); ++i)
        BOOST_TEST((after.plan[i] == before.plan[order[i]]));
    }
}

BOOST_AUTO_TEST_CASE(a_node_that_leaves_moves_little_more_than_its_share) {
  std::vector<holder> five;
  for (int i = 0; i < 5; ++i)
    five.push_back({"node " + std::to_string(i), 400});
  auto before = assign({24, 64, five, {}});
  auto four = five;
  four.pop_back();
  auto after = assign({24, 64, four, {}});
  size_t arrived = 0;
  for (size_t h = 0; h < 4; ++h)
    for (size_t i = 0; i < 24 * 64; ++i)
      arrived += after.plan[h].test(i) && !before.plan[h].test(i);
  BOOST_TEST(arrived < 24 * 64 * 2 / 5); // its share is a fifth
  BOOST_TEST(after.uncovered.empty());
}

BOOST_AUTO_TEST_CASE(popular_experts_get_the_replicas) {
  std::vector<holder> two{{"a", 60}, {"b", 60}};
  std::vector<double> popularity(100, 1.0);
  for (size_t i = 0; i < 20; ++i)
    popularity[i * 5] = 10;
  auto a = assign({1, 100, two, popularity});
  for (size_t i = 0; i < 100; ++i)
    BOOST_TEST(copies(a, i) == (i % 5 == 0 ? 2u : 1u));
}

std::vector<bitmap> random_base(std::mt19937& random, size_t holders, uint64_t items) {
  std::vector<bitmap> all(holders, bitmap(items));
  for (auto& b : all)
    for (uint64_t i = 0; i < items; ++i)
      b.set(i, random() % 3 == 0);
  return all;
}

BOOST_AUTO_TEST_CASE(an_earlier_plan_is_mended_to_the_nodes_that_are_there) {
  for (uint32_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      uint32_t layers = random() % 6 + 1, experts = random() % 40 + 1;
      uint64_t items = uint64_t{layers} * experts;
      auto holders = random_holders(random, items);
      auto base = random_base(random, holders.size(), items);
      std::vector<double> popularity(seed % 2 ? items : 0);
      for (auto& p : popularity)
        p = random() % 9;
      auto a = assign({layers, experts, holders, popularity, base});
      uint64_t space = room(holders, items), placed = 0;
      for (size_t h = 0; h < holders.size(); ++h) {
        BOOST_TEST(a.plan[h].count() <= holders[h].room);
        placed += a.plan[h].count();
      }
      BOOST_TEST(placed == space);
      BOOST_TEST(a.uncovered.size() == (space < items ? items - space : 0u));
      if (space >= items)
        for (size_t i = 0; i < items; ++i)
          BOOST_TEST(copies(a, i) >= 1u);
    }
}

BOOST_AUTO_TEST_CASE(a_plan_that_covers_and_fits_is_kept_whole) {
  for (uint32_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      auto holders = random_holders(random, 240);
      for (auto& h : holders)
        h.room = 240;
      auto base = random_base(random, holders.size(), 240);
      for (uint64_t i = 0; i < 240; ++i)
        base[i % base.size()].set(i);
      for (size_t h = 0; h < holders.size(); ++h)
        holders[h].room = base[h].count();
      auto a = assign({4, 60, holders, {}, base});
      for (size_t h = 0; h < holders.size(); ++h)
        BOOST_TEST((a.plan[h] == base[h]));
    }
}

BOOST_AUTO_TEST_CASE(without_room_what_is_used_far_more_takes_the_place_of_the_least_used) {
  std::vector<holder> one{{"a", 3}};
  std::vector<bitmap> base(1, bitmap(6));
  for (size_t i : {0, 1, 2})
    base[0].set(i);
  for (double used : {0.15, 1.0}) {
    std::vector<double> popularity{0.3, 0.1, 0.2, 0.05, 0.0, used}; // 5 was at a node that is gone
    auto a = assign({1, 6, one, popularity, base});
    bool taken = used > 0.2;
    BOOST_TEST(a.plan[0].test(5) == taken);
    BOOST_TEST(a.plan[0].test(1) == !taken);
    BOOST_TEST(a.plan[0].test(0));
    BOOST_TEST(a.uncovered.size() == 3u);
    // Whoever mends it again comes to the same.
    BOOST_TEST((assign({1, 6, one, popularity, a.plan}).plan[0] == a.plan[0]));
  }
}

BOOST_AUTO_TEST_CASE(where_a_node_of_the_plan_is_gone_only_its_experts_move) {
  std::vector<holder> two{{"a", 130}, {"b", 130}};
  std::vector<bitmap> base(2, bitmap(240));
  for (size_t i = 0; i < 240; ++i) // of three nodes: c had the last 60 alone
    if (i < 180)
      base[i % 2].set(i);
  auto a = assign({4, 60, two, {}, base});
  BOOST_TEST(a.uncovered.empty());
  for (size_t h = 0; h < 2; ++h)
    for (size_t i = 0; i < 180; ++i)
      if (base[h].test(i))
        BOOST_TEST(a.plan[h].test(i));
}

// However popular what a plan of before left here is: homes can read that, and slices they cannot.
BOOST_AUTO_TEST_CASE(slices_have_a_node_where_there_is_room_for_them) {
  for (uint32_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      constexpr uint32_t layers = 4, experts = 18, slices = 2;
      std::vector<holder> holders;
      auto nodes = 1 + random() % 3;
      for (uint32_t n = 0; n < nodes; ++n)
        holders.push_back({"node" + std::to_string(n), 8 + random() % 20});
      std::vector<double> popularity(layers * experts);
      for (auto& p : popularity)
        p = 0.6 + 0.4 * (random() % 2);
      std::vector<bitmap> base = random_base(random, holders.size(), layers * experts);
      for (const auto& from : {std::vector<bitmap>(), base}) {
        auto made = assign({layers, experts, holders, popularity, from, slices});
        for (auto key : made.uncovered)
          BOOST_TEST(index(key.expert) < experts - slices, to_string(key));
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
