// Which neighbours take part: greedy growth against all sets, the margin, and what is said.
#include "plan_support.hpp"
#include "policy/region.hpp"

#include <boost/test/unit_test.hpp>

#include <numeric>

using namespace coel;
using namespace coel::policy;
using namespace coel::policy::testing;

namespace {

region_problem random_region(uint64_t seed, uint32_t candidates) {
  std::mt19937_64 random(seed);
  region_problem p;
  p.model = qwen_model();
  p.mass = mass_curve(p.model.experts);
  constexpr double gb[] = {1, 2, 3, 4, 6, 8}, rtt[] = {200, 500, 1000, 2000, 5000, 20000},
                   mbit[] = {10, 50, 100, 1000};
  for (uint32_t n = 0; n <= candidates; ++n) {
    p.nodes.push_back(random_node(random, n));
    p.nodes.back().memory_bytes = static_cast<uint64_t>(1e9 * gb[random() % 6]);
    p.links.push_back({rtt[random() % 6], mbit[random() % 4] / 8});
  }
  p.nodes[0].memory_bytes = static_cast<uint64_t>(between(random, 2.6e9, 7e9));
  return p;
}

} // namespace

BOOST_AUTO_TEST_SUITE(regions)

BOOST_AUTO_TEST_CASE(growth_finds_what_enumeration_finds) {
  uint32_t compared = 0;
  double worst = 1;
  for (uint64_t seed = 1; seed <= 260; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      auto p = random_region(seed, static_cast<uint32_t>(2 + seed % 9));
      auto all = enumerate_regions(p), grown = grow_region(p);
      BOOST_REQUIRE_EQUAL(all.has_value(), grown.has_value());
      if (!all)
        continue;
      ++compared;
      double best = cost_of_region(p, *all)->request_us;
      double found = cost_of_region(p, *grown)->request_us;
      worst = std::max(worst, found / best);
      BOOST_TEST(found <= 1.02 * best);
    }
  BOOST_TEST(compared >= 200u);
  BOOST_TEST_MESSAGE("worst ratio of growth to enumeration " << worst);
}

BOOST_AUTO_TEST_CASE(one_node_is_left_only_for_a_clear_gain) {
  for (uint64_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      auto p = random_region(seed, 4);
      p.nodes[0].memory_bytes = 20'000'000'000;
      auto plan = choose_region(p);
      BOOST_REQUIRE(plan.alone.has_value());
      bool gain = plan.several && plan.several->request_us <= 0.9 * plan.alone->request_us;
      BOOST_TEST((plan.mode == region_mode::several) == gain);
      BOOST_TEST(plan.helpers.empty() == !gain);
      BOOST_TEST(plan.why.find(p.nodes[0].name) != std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(alone_is_said_to_be_faster_with_numbers) {
  auto p = random_region(3, 3);
  p.nodes[0].memory_bytes = 20'000'000'000;
  for (auto& l : p.links)
    l = {20'000, 1.25};
  auto plan = choose_region(p);
  BOOST_TEST((plan.mode == region_mode::single));
  BOOST_TEST(plan.why.find("one node alone is faster than the best region") != std::string::npos,
             plan.why);
  BOOST_TEST(plan.why.find("ms a token") != std::string::npos, plan.why);
}

BOOST_AUTO_TEST_CASE(a_slow_disk_is_compared_with_helpers) {
  auto p = random_region(4, 3);
  p.nodes[0].memory_bytes = 4'000'000'000;
  for (uint32_t n = 1; n < 4; ++n)
    p.nodes[n].memory_bytes = 8'000'000'000;
  for (auto& l : p.links)
    l = {300, 125};
  p.nodes[0].store_bytes_us = 2000; // 2 GB/s
  auto plan = choose_region(p);
  BOOST_REQUIRE((plan.alone && plan.several));
  BOOST_TEST((plan.mode == region_mode::several), plan.why);
  for (auto& l : p.links)
    l = {50'000, 0.5};
  BOOST_TEST((choose_region(p).mode == region_mode::tiered));
  p.nodes[0].memory_bytes = 1'000'000'000; // not even the dense part
  BOOST_TEST((choose_region(p).mode == region_mode::infeasible));
}

BOOST_AUTO_TEST_CASE(a_copy_of_the_model_is_shared_out) {
  for (uint64_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      auto p = random_region(seed, 6);
      auto plan = choose_region(p);
      if (plan.mode != region_mode::several)
        continue;
      auto sum = std::accumulate(plan.experts.begin(), plan.experts.end(), uint64_t{0});
      BOOST_TEST(sum == p.model.items());
      for (uint32_t n = 0; n < p.nodes.size(); ++n)
        BOOST_TEST(plan.experts[n] <= expert_room(p.nodes[n], p.model, n == 0));
    }
}

BOOST_AUTO_TEST_SUITE_END()
