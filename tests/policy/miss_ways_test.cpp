#include "policy/miss_ways.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace coel::policy;

namespace {

/// A disk of 1 GB/s: a megabyte is 1000 us. An expert runs one row in 210 us.
constexpr miss_rates rates{1e9, 100, 50, 200, 10};

claimed_expert missing(bool copy, double under_way_us = 0) {
  return {false, copy, 1, 1'000'000, under_way_us};
}
constexpr claimed_expert here{true, true, 1, 1'000'000, 0};

} // namespace

BOOST_AUTO_TEST_SUITE(ways_of_a_step)

BOOST_AUTO_TEST_CASE(what_has_no_copy_is_waited_for) {
  std::vector<claimed_expert> claimed{missing(false), missing(true), here, missing(false)};
  auto ways = ways_of(claimed, rates);
  BOOST_REQUIRE_EQUAL(ways.size(), 4u);
  BOOST_TEST((ways[0] == miss_way::wait));
  BOOST_TEST((ways[1] == miss_way::lower));
  BOOST_TEST((ways[2] == miss_way::wait));
  BOOST_TEST((ways[3] == miss_way::wait));
  BOOST_TEST(ways_of({}, rates).empty());
}

BOOST_AUTO_TEST_CASE(a_read_that_ends_before_its_turn_costs_nothing) {
  std::vector<claimed_expert> claimed(5, here);
  claimed.push_back(missing(true)); // 1150 us until it could run; five run 1050 before
  BOOST_TEST((ways_of(claimed, rates).back() == miss_way::lower));
  BOOST_TEST((ways_of(claimed, rates, 100).back() == miss_way::wait)); // a shared expert
  claimed.insert(claimed.begin(), here);
  BOOST_TEST((ways_of(claimed, rates).back() == miss_way::wait));
  claimed.push_back(missing(true)); // this one's read comes behind the other's
  BOOST_TEST((ways_of(claimed, rates).back() == miss_way::lower));
}

BOOST_AUTO_TEST_CASE(what_is_nearly_read_is_waited_for) {
  std::vector<claimed_expert> claimed{here, missing(true, 1000)}; // 100 us, and 50 to pack
  BOOST_TEST((ways_of(claimed, rates).back() == miss_way::wait));
  claimed.back().under_way_us = 800;
  BOOST_TEST((ways_of(claimed, rates).back() == miss_way::lower));
}

BOOST_AUTO_TEST_CASE(a_disk_that_was_never_measured_is_not_trusted) {
  std::vector<claimed_expert> claimed{here, missing(true)};
  BOOST_TEST((ways_of(claimed, {}).back() == miss_way::lower));
}

/// Nobody without a copy runs one, and the first that a slower disk answers otherwise does not wait
/// for it any more (those behind may: a read is out of their way).
BOOST_AUTO_TEST_CASE(a_slower_disk_makes_nobody_wait_who_had_not_to) {
  std::mt19937 random(1);
  size_t copies = 0, all = 0;
  for (int i = 0; i < 2000; ++i)
    BOOST_TEST_CONTEXT("seed 1, case " << i) {
      miss_rates r{1e8 + random() % 3'000'000'000u, static_cast<double>(random() % 500),
                   static_cast<double>(random() % 2000), static_cast<double>(random() % 5000),
                   static_cast<double>(random() % 100)};
      std::vector<claimed_expert> claimed(1 + random() % 8);
      for (auto& e : claimed)
        e = {random() % 3 == 0, random() % 2 == 0, 1 + static_cast<uint32_t>(random() % 40),
             1 + random() % 10'000'000, random() % 4 ? 0. : static_cast<double>(random() % 3000)};
      auto fast = ways_of(claimed, r);
      r.disk_bytes_per_s /= 2;
      auto slow = ways_of(claimed, r);
      for (size_t e = 0; e < claimed.size(); ++e)
        BOOST_TEST(((claimed[e].copy && !claimed[e].here) || fast[e] == miss_way::wait));
      auto other = std::mismatch(fast.begin(), fast.end(), slow.begin()).first;
      BOOST_TEST((other == fast.end() || *other == miss_way::wait));
      copies += std::count(fast.begin(), fast.end(), miss_way::lower);
      all += fast.size();
    }
  BOOST_TEST(copies > all / 20); // else it has tried little
  BOOST_TEST(copies < all / 2);
}

BOOST_AUTO_TEST_SUITE_END()
