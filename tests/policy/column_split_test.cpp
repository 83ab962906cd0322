#include "policy/column_split.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace coel;
using policy::column_cost;
using policy::split_columns;

namespace {

constexpr uint32_t unit = 64;

column_cost cost(uint16_t host, double fixed, double per_column) {
  return {static_cast<node_id>(host), fixed, per_column};
}

double end_of(const std::vector<policy::column_part>& parts,
              const std::vector<column_cost>& costs) {
  double end = 0;
  for (const auto& p : parts)
    for (const auto& c : costs)
      if (c.host == p.host)
        end = std::max(end, c.fixed_us + c.us_per_column * (p.end - p.first));
  return end;
}

} // namespace

BOOST_AUTO_TEST_SUITE(column_split)

BOOST_AUTO_TEST_CASE(parts_cover_everything_and_end_together) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      std::uniform_real_distribution<double> rate(0.01, 0.5), fixed(0, 5000);
      auto columns = std::uniform_int_distribution<uint32_t>(1, 200'000)(random);
      auto self = cost(1, 0, rate(random));
      std::vector<column_cost> others;
      for (uint16_t h = 2; h < 2 + seed % 5; ++h)
        others.push_back(cost(h, fixed(random), rate(random)));
      auto parts = split_columns(columns, unit, self, others);
      uint32_t at = 0;
      for (const auto& p : parts) {
        BOOST_TEST_REQUIRE(p.first == at);
        BOOST_TEST_REQUIRE(p.end > p.first);
        BOOST_TEST_REQUIRE(p.first % unit == 0u);
        at = p.end;
      }
      BOOST_TEST_REQUIRE(at == columns);
      auto all = others;
      all.push_back(self);
      double end = end_of(parts, all), slowest = 0;
      for (const auto& c : all)
        slowest = std::max(slowest, c.us_per_column);
      // No other split by thousandths is better by more than the rounding to units costs.
      double slack = static_cast<double>(all.size()) * unit * slowest;
      BOOST_TEST_REQUIRE(end <= self.us_per_column * columns + slack);
      for (const auto& o : others)
        for (int share = 0; share <= 1000; share += 50) {
          double there = columns * share / 1000.0;
          double two = std::max(self.us_per_column * (columns - there),
                                share ? o.fixed_us + o.us_per_column * there : 0);
          BOOST_TEST_REQUIRE(end <= two + slack);
        }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_far_node_gets_nothing) {
  auto parts = split_columns(1000, unit, cost(1, 0, 1), {cost(2, 1001, 0.001)});
  BOOST_TEST(parts.size() == 1u);
  BOOST_TEST((parts.front() == policy::column_part{static_cast<node_id>(1), 0, 1000}));
}

BOOST_AUTO_TEST_CASE(a_node_that_was_not_measured_gets_nothing) {
  BOOST_TEST(split_columns(1000, unit, cost(1, 0, 0), {cost(2, 0, 1)}).size() == 1u);
  BOOST_TEST(split_columns(1000, unit, cost(1, 0, 1), {cost(2, 0, 0)}).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_much_slower_node_than_its_neighbour_leaves_all_to_it) {
  auto parts = split_columns(128, unit, cost(1, 0, 1000), {cost(2, 0, 0.001)});
  BOOST_TEST(parts.size() == 1u);
  BOOST_TEST((parts.front().host == static_cast<node_id>(2)));
}

BOOST_AUTO_TEST_SUITE_END()
