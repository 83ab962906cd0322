// Run where it is, or copy over: against all possible choices, and with what is measured.
#include "policy/copy_over.hpp"

#include <boost/test/unit_test.hpp>

#include <random>

using namespace coel::policy;

namespace {

constexpr uint64_t mib = 1 << 20;

/// A slow device that takes `fixed` us a MiB and `each` for every row of it; a bus of `copy` us.
copy_costs costs(double fixed, double each, double copy) {
  copy_costs c;
  for (uint32_t n = 1; n <= 64; ++n)
    for (uint32_t experts : {1u, 4u}) {
      c.ran_slow(experts * mib, uint64_t{n} * experts, experts,
                 experts * (fixed + each * static_cast<double>(n)));
      c.copied(mib, copy);
    }
  return c;
}

double time_of(const std::vector<copy_candidate>& all, const copy_costs& c, uint32_t copied) {
  double slow = 0, bus = 0;
  for (uint32_t i = 0; i < all.size(); ++i)
    if (copied >> i & 1)
      bus += c.copy_us(all[i].bytes);
    else
      slow += c.slow_us(all[i].bytes, all[i].rows);
  return std::max(slow, bus);
}

} // namespace

BOOST_AUTO_TEST_SUITE(copy_over)

BOOST_AUTO_TEST_CASE(measurements_give_the_law_that_made_them) {
  auto c = costs(50, 20, 230);
  BOOST_TEST(c.slow_us(mib, 1) == 70, boost::test_tools::tolerance(0.1));
  BOOST_TEST(c.slow_us(2 * mib, 40) == 1700, boost::test_tools::tolerance(0.1));
  BOOST_TEST(c.copy_us(3 * mib) == 690, boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_CASE(one_row_stays_many_are_copied) {
  auto c = costs(50, 20, 230);
  std::vector<copy_candidate> decode(4, {mib, 1, true}), prompt(4, {mib, 40, true});
  BOOST_TEST(plan_copies(decode, c).copies.empty());
  BOOST_TEST(plan_copies(prompt, c).copies.size() >= 3u);
}

BOOST_AUTO_TEST_CASE(nothing_is_copied_while_a_time_is_unknown) {
  std::vector<copy_candidate> prompt(4, {mib, 400, true});
  BOOST_TEST(plan_copies(prompt, {}).copies.empty());
  copy_costs only_slow;
  only_slow.ran_slow(mib, 100, 1, 1e5);
  BOOST_TEST(plan_copies(prompt, only_slow).copies.empty());
  copy_costs only_copies;
  only_copies.copied(mib, 1);
  BOOST_TEST(plan_copies(prompt, only_copies).copies.empty());
}

BOOST_AUTO_TEST_CASE(close_to_the_best_of_all_choices_and_never_slower_than_none) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 rng(seed);
      auto c = costs(1 + rng() % 200, 1 + rng() % 50, 10 + rng() % 1000);
      std::vector<copy_candidate> all(1 + rng() % 9);
      for (auto& a : all)
        a = {mib * (1 + rng() % 2), 1 + static_cast<uint32_t>(rng() % 64), rng() % 4 != 0};
      auto plan = plan_copies(all, c);
      uint32_t chosen = 0, allowed = 0;
      for (uint32_t i = 0; i < all.size(); ++i)
        if (all[i].copyable && c.copy_us(all[i].bytes) < c.slow_us(all[i].bytes, all[i].rows))
          allowed |= 1u << i;
      for (auto i : plan.copies)
        chosen |= 1u << i;
      BOOST_TEST((chosen & ~allowed) == 0u);
      double got = time_of(all, c, chosen), none = time_of(all, c, 0), best = none;
      for (uint32_t set = 0; set < 1u << all.size(); ++set)
        if ((set & ~allowed) == 0)
          best = std::min(best, time_of(all, c, set));
      BOOST_TEST(plan.us == got, boost::test_tools::tolerance(1e-9));
      BOOST_TEST(plan.alone_us == none, boost::test_tools::tolerance(1e-9));
      BOOST_TEST(got <= none);
      double one = 0; // the sweep errs by one expert at the most, and by what is not worth a copy
      for (const auto& a : all)
        one = std::max({one, c.slow_us(a.bytes, a.rows), a.copyable ? c.copy_us(a.bytes) : 0});
      BOOST_TEST(got <= best + one + 0.1 * none);
    }
}

BOOST_AUTO_TEST_SUITE_END()
