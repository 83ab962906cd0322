// Recorded routing: files, sessions, statistics, and the synthetic stand-in.
#include "plan_support.hpp"
#include "policy/coactivation.hpp"
#include "policy/routing_trace.hpp"
#include "policy/synthetic_routing.hpp"
#include "policy/transport.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace coel;
using namespace coel::policy;
using namespace coel::policy::testing;

namespace {

std::span<const std::byte> bytes_of(const std::vector<char>& v) {
  return std::as_bytes(std::span(v));
}

/// The highest profit over all ways to give items to places.
double best_profit(const transport_problem& p, uint32_t item, std::vector<uint32_t>& left) {
  if (item == p.items)
    return 0;
  double best = -1e300;
  for (uint32_t s = 0; s < p.places; ++s) {
    if (!left[s])
      continue;
    --left[s];
    best = std::max(best, p.profit[item * p.places + s] + best_profit(p, item + 1, left));
    ++left[s];
  }
  return best;
}

} // namespace

BOOST_AUTO_TEST_SUITE(routing_traces)

BOOST_AUTO_TEST_CASE(files_come_back_as_they_were) {
  std::mt19937_64 random(1);
  auto trace = random_trace(random, {3, 300, 4}, 57);
  auto back = parse_routing(bytes_of(encode_routing(trace)));
  BOOST_REQUIRE(back.ok());
  BOOST_TEST(back->experts == trace.experts);
  BOOST_TEST(back->session == trace.session);
}

BOOST_AUTO_TEST_CASE(version_1_has_no_sessions) {
  std::vector<char> file{'C', 'O', 'E', 'L', 'R', 'O', 'U', 'T', 1, 0, 0, 0, 2, 0, 0, 0, 4,
                         0,   0,   0,   1,   0,   0,   0,   3,   0, 2, 0, 1, 0, 0, 0, 2};
  auto trace = parse_routing(bytes_of(file)); // two tokens, the third is cut off
  BOOST_REQUIRE(trace.ok());
  BOOST_TEST(trace->tokens() == 2u);
  BOOST_TEST(trace->at(0, 0)[0] == 3);
  BOOST_TEST(trace->at(1, 1)[0] == 0);
  cut_into_sessions(*trace, 1);
  BOOST_TEST(trace->session[1] == 1u);
}

BOOST_AUTO_TEST_CASE(damaged_files_are_refused_with_a_reason) {
  std::mt19937_64 random(2);
  auto good = encode_routing(random_trace(random, {2, 8, 2}, 5));
  for (size_t n = 0; n < 24; ++n) // a header cut anywhere
    BOOST_TEST(!parse_routing(bytes_of({good.begin(), good.begin() + static_cast<long>(n)})).ok());
  for (int seed = 0; seed < 3000; ++seed) { // any bytes: an answer or a reason, never more
    auto bad = good;
    for (int i = 0; i < 3; ++i)
      bad[random() % bad.size()] = static_cast<char>(random());
    auto parsed = parse_routing(bytes_of(bad));
    if (parsed.ok())
      for (auto e : parsed->experts)
        BOOST_REQUIRE(e < parsed->shape.experts);
    else
      BOOST_REQUIRE((parsed.err().code == ec::bad_file && !parsed.err().message.empty()));
  }
}

BOOST_AUTO_TEST_CASE(halves_share_no_session) {
  std::mt19937_64 random(3);
  auto halves = split_trace(random_trace(random, {2, 8, 2}, 200));
  BOOST_TEST(halves.fit.tokens() + halves.held_out.tokens() == 200u);
  for (auto s : halves.fit.session)
    BOOST_TEST(std::count(halves.held_out.session.begin(), halves.held_out.session.end(), s) == 0);
}

BOOST_AUTO_TEST_CASE(slices_of_the_shared_expert_are_in_every_token) {
  std::mt19937_64 random(4);
  auto trace = random_trace(random, {2, 8, 2}, 10);
  auto with = with_shared_slices(trace, 3);
  BOOST_TEST(with.shape.experts == 11u);
  for (size_t t = 0; t < 10; ++t)
    for (uint32_t l = 0; l < 2; ++l) {
      auto chosen = with.at(t, l);
      BOOST_TEST(std::equal(chosen.begin(), chosen.begin() + 2, trace.at(t, l).begin()));
      BOOST_TEST((chosen[2] == 8 && chosen[3] == 9 && chosen[4] == 10));
    }
}

BOOST_AUTO_TEST_CASE(statistics_are_those_of_the_tokens) {
  coactivation stats({2, 4, 2}, 0);
  const uint16_t a[] = {0, 1, 2, 3}, b[] = {0, 2, 2, 0};
  stats.add(a);
  stats.add(a);
  stats.add(b);
  stats.add(b, 1.0);
  BOOST_TEST(stats.popularity(0, 0) == 1.0);
  BOOST_TEST(stats.popularity(0, 1) == 0.5);
  BOOST_TEST(stats.same_layer(0, 0, 2) == 0.5);
  BOOST_TEST(stats.next_layer(0, 0, 3) == 0.5);
  BOOST_TEST(stats.connection(0, 1, 3) == 1.0);
  BOOST_TEST(stats.connection(0, 3, 3) == 0.0);
}

BOOST_AUTO_TEST_CASE(the_past_fades_by_half_lives) {
  coactivation stats({1, 2, 1}, 10);
  const uint16_t a[] = {0}, b[] = {1};
  for (int i = 0; i < 2000; ++i) // far longer than a number can grow
    stats.add(a);
  for (int i = 0; i < 10; ++i)
    stats.add(b);
  BOOST_TEST(std::abs(stats.popularity(0, 1) - 0.5) < 1e-6);
}

BOOST_AUTO_TEST_CASE(quotas_are_filled_at_the_highest_profit) {
  for (uint64_t seed = 1; seed <= 1500; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto items = static_cast<uint32_t>(1 + random() % 7),
           places = static_cast<uint32_t>(1 + random() % 4);
      std::vector<double> profit(items * places);
      for (auto& p : profit) // few values: many ties
        p = static_cast<double>(random() % 6) - 2;
      std::vector<uint32_t> quota(places);
      for (uint32_t i = 0; i < items + random() % 3; ++i)
        ++quota[random() % places];
      transport_problem problem{items, places, profit, quota};
      auto at = transport(problem);
      std::vector<uint32_t> used(places);
      double sum = 0;
      for (uint32_t i = 0; i < items; ++i) {
        BOOST_REQUIRE(at[i] < places);
        ++used[at[i]];
        sum += profit[i * places + at[i]];
      }
      for (uint32_t s = 0; s < places; ++s)
        BOOST_TEST(used[s] <= quota[s]);
      BOOST_TEST(std::abs(sum - best_profit(problem, 0, quota)) < 1e-9);
    }
}

BOOST_AUTO_TEST_CASE(regimes_differ_as_they_should) {
  double top_share[3], again[3];
  for (int r = 0; r < 3; ++r) {
    synthetic_routing model({{6, 60, 4}, static_cast<routing_regime>(r), 8, -1, 1});
    auto trace = model.trace(40, 50, {}, 7);
    BOOST_TEST((trace.experts == model.trace(40, 50, {}, 7).experts));
    coactivation stats(trace.shape, 0);
    stats.add(trace);
    double top = 0, repeated = 0;
    for (uint32_t l = 0; l < 6; ++l) {
      std::vector<double> p;
      for (uint32_t e = 0; e < 60; ++e)
        p.push_back(stats.popularity(l, e));
      std::sort(p.rbegin(), p.rend());
      top += std::accumulate(p.begin(), p.begin() + 15, 0.0) / 4 / 6;
    }
    for (size_t t = 1; t < trace.tokens(); ++t)
      for (auto e : trace.at(t, 3))
        repeated += std::count(trace.at(t - 1, 3).begin(), trace.at(t - 1, 3).end(), e);
    top_share[r] = top;
    again[r] = repeated / static_cast<double>(trace.tokens()) / 4;
  }
  // POLICY 0.3: share of the top quarter 41, 48, 55 %; same expert for the next token 8, 12, 22 %
  BOOST_TEST((top_share[0] > 0.34 && top_share[0] < top_share[1] && top_share[1] < top_share[2]));
  BOOST_TEST((again[0] > 0.066 && again[0] < again[1] && again[1] < again[2]));
}

BOOST_AUTO_TEST_SUITE_END()
