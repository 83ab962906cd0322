// The trained choice against simpler ones in a changing LAN, and its fall-back; the bounded bias.
#include "policy/expert_bias.hpp"
#include "policy/replica_choice.hpp"
#include "policy/replica_simulator.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

using namespace coel::policy;

namespace {

struct averages {
  double mean = 0, p95 = 0;
};

averages over_seeds(replica_rule rule, double rate, uint64_t seeds) {
  averages out;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    auto r = simulate_replicas(rule, {seed, 40, rate, 3, 4});
    out.mean += r.mean_ms / static_cast<double>(seeds);
    out.p95 += r.p95_ms / static_cast<double>(seeds);
  }
  return out;
}

} // namespace

BOOST_AUTO_TEST_SUITE(replica_choices)

BOOST_AUTO_TEST_CASE(trained_choice_beats_two_choices_at_three_loads) {
  for (double rate : {30.0, 100.0, 180.0})
    BOOST_TEST_CONTEXT("rate " << rate) {
      auto trained = over_seeds(replica_rule::trained, rate, 6);
      auto two = over_seeds(replica_rule::two_choices, rate, 6);
      auto plain = over_seeds(replica_rule::average, rate, 6);
      BOOST_TEST_MESSAGE("rate " << rate << " trained " << trained.mean << "/" << trained.p95
                                 << " average " << plain.mean << "/" << plain.p95 << " two "
                                 << two.mean << "/" << two.p95);
      BOOST_TEST(trained.p95 <= two.p95);
      BOOST_TEST(trained.mean <= 1.03 * plain.mean); // never worse than its fall-back
    }
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_world) {
  replica_lan lan{3, 20, 50, 2, 3};
  auto a = simulate_replicas(replica_rule::trained, lan);
  auto b = simulate_replicas(replica_rule::trained, lan);
  BOOST_TEST(a.mean_ms == b.mean_ms);
  BOOST_TEST(a.dispatches > 0u);
  BOOST_TEST(a.dispatches == simulate_replicas(replica_rule::oracle, lan).dispatches);
}

BOOST_AUTO_TEST_CASE(blind_rules_look_at_loads_as_they_say) {
  std::mt19937_64 random(7);
  const std::vector<double> loads{2, 0, 3, 0, 1};
  std::vector<int> picked(loads.size()), drawn(loads.size()), better(loads.size());
  for (int i = 0; i < 5000; ++i) {
    ++picked[pick_replica(replica_rule::least_loaded, loads, random)];
    ++drawn[pick_replica(replica_rule::random, loads, random)];
    ++better[pick_replica(replica_rule::two_choices, loads, random)];
  }
  BOOST_TEST(picked[1] + picked[3] == 5000); // ties go to all of them
  BOOST_TEST(std::min(picked[1], picked[3]) > 500);
  for (auto n : drawn)
    BOOST_TEST(std::abs(n - 1000) < 150);
  BOOST_TEST(better[2] == 0); // the most loaded one is never the better of two
  BOOST_TEST(better[0] > 0);
  BOOST_TEST(better[0] < better[4]);
  BOOST_TEST(better[4] < better[1]);
  std::vector<double> one{5};
  for (auto rule : {replica_rule::random, replica_rule::least_loaded, replica_rule::two_choices})
    BOOST_TEST(pick_replica(rule, one, random) == 0u);
}

BOOST_AUTO_TEST_CASE(rules_are_named) {
  for (auto rule : all_replica_rules())
    BOOST_TEST((replica_rule_named(to_string(rule)) == rule));
  BOOST_TEST(!replica_rule_named("best"));
}

BOOST_AUTO_TEST_CASE(least_squares_finds_the_weights) {
  recursive_fit<3> fit({0, 0, 0}, 1);
  std::mt19937_64 random(1);
  auto unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  for (int i = 0; i < 2000; ++i) {
    recursive_fit<3>::vector x{1, unit(), unit()};
    fit.add(x, 0.3 + 0.5 * x[1] - 0.2 * x[2]);
  }
  BOOST_TEST(std::abs(fit.weights()[0] - 0.3) < 5e-3);
  BOOST_TEST(std::abs(fit.weights()[1] - 0.5) < 5e-3);
  BOOST_TEST(std::abs(fit.weights()[2] + 0.2) < 5e-3);
}

BOOST_AUTO_TEST_CASE(the_plain_rule_decides_while_the_model_errs_more) {
  replica_chooser chooser(2, {0, 0.2, true});
  std::mt19937_64 random(2);
  double now = 0;
  // Latencies without rhyme: nothing to learn, so the model follows noise at first.
  for (int i = 0; i < 3000; ++i, now += 1000) {
    auto r = static_cast<uint32_t>(random() % 2);
    auto ticket = chooser.sent(r, 1 + static_cast<uint32_t>(random() % 4), now);
    chooser.replied(ticket, {r ? 4000.0 : 1000.0, 0, 0, 0}, now + 500);
    if (chooser.trained_rules())
      BOOST_TEST(chooser.fit_error() <= chooser.rule_error());
    else
      BOOST_TEST(chooser.predict(0, 1, now) == 1000.0, boost::test_tools::tolerance(1.0));
  }
  std::vector<uint32_t> both{0, 1};
  BOOST_TEST(chooser.choose(both, 1, now, random) == 0u);
}

BOOST_AUTO_TEST_CASE(a_node_that_is_asked_anyway_is_preferred) {
  replica_chooser chooser(2, {0, 0.2, true});
  std::mt19937_64 random(3);
  chooser.expect(0, 1000, 500, 1, 100); // faster, but not yet in this layer
  chooser.expect(1, 1500, 500, 1, 200);
  std::vector<uint32_t> both{0, 1}, used{1};
  BOOST_TEST(chooser.choose(both, 1, 0, random) == 0u);
  BOOST_TEST(chooser.choose(both, 1, 0, random, used) == 1u);
}

BOOST_AUTO_TEST_CASE(lost_dispatches_are_no_longer_under_way) {
  replica_chooser chooser(2, {0, 0.2, true});
  std::mt19937_64 random(3);
  chooser.expect(0, 1000, 500, 1, 100);
  chooser.expect(1, 1500, 500, 1, 100);
  std::vector<uint32_t> both{0, 1};
  auto ticket = chooser.sent(0, 1, 0);
  BOOST_TEST(chooser.choose(both, 1, 0, random) == 1u);
  chooser.lost(ticket);
  chooser.lost(ticket);
  chooser.replied(ticket, {1, 1, 1, 1}, 1);
  BOOST_TEST(chooser.choose(both, 1, 0, random) == 0u);
}

BOOST_AUTO_TEST_CASE(a_bias_keeps_its_bound) {
  for (uint64_t seed = 1; seed <= 4000; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      auto experts = 6 + random() % 10, k = 1 + random() % 4;
      std::vector<float> p(experts);
      std::vector<uint8_t> local(experts), near(experts);
      float sum = 0;
      for (size_t e = 0; e < experts; ++e) {
        sum += p[e] = 0.01f + static_cast<float>(random() % 1000) / 1000;
        local[e] = random() % 2;
        near[e] = local[e] || random() % 3 == 0;
      }
      for (auto& x : p)
        x /= sum;
      std::vector<int32_t> ids(experts);
      std::iota(ids.begin(), ids.end(), 0);
      std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
        return p[static_cast<size_t>(a)] > p[static_cast<size_t>(b)];
      });
      ids.resize(k);
      bool renormalised = seed % 2;
      std::vector<float> weights;
      float chosen = 0, kept = 0;
      for (auto e : ids)
        chosen += p[static_cast<size_t>(e)];
      for (auto e : ids)
        weights.push_back(p[static_cast<size_t>(e)] / (renormalised ? chosen : 1));
      auto before = ids;
      auto weights_before = weights;
      double bound = static_cast<double>(random() % 4) * 0.1;
      bool changed = prefer_near(p, local, near, bound, renormalised, ids, weights);
      if (!changed) {
        BOOST_TEST(ids == before);
        BOOST_TEST(weights == weights_before);
        continue;
      }
      BOOST_TEST(bound > 0);
      float weight = 0;
      for (size_t i = 0; i < k; ++i) {
        BOOST_TEST(near[static_cast<size_t>(ids[i])]);
        kept += p[static_cast<size_t>(ids[i])];
        weight += weights[i];
      }
      BOOST_TEST((std::adjacent_find(ids.begin(), ids.end()) == ids.end()));
      BOOST_TEST(1 - kept / chosen <= bound + 1e-6);
      BOOST_TEST(std::abs(weight - (renormalised ? 1 : kept)) < 1e-5);
    }
}

BOOST_AUTO_TEST_CASE(a_replica_that_became_slow_costs_more_and_is_asked_again_later) {
  replica_chooser chooser(0);
  auto slow = chooser.add(), steady = chooser.add();
  double now = 0;
  BOOST_TEST(chooser.surplus_us(slow, 4, 500, now) == 0);
  for (int i = 0; i < 60; ++i)
    for (auto r : {slow, steady}) {
      auto ticket = chooser.sent(r, 4, now);
      now += 1000;
      chooser.replied(ticket, {r == slow && i >= 30 ? 9000.0 : 500.0, 100, 0, 200}, now);
    }
  double dear = chooser.surplus_us(slow, 4, 500, now);
  BOOST_TEST(dear > 2000);
  BOOST_TEST(chooser.surplus_us(steady, 4, 500, now) < dear / 4);
  BOOST_TEST(chooser.surplus_us(slow, 4, 500, now + 30e6) < dear / 10);
  chooser.forget(slow);
  BOOST_TEST(chooser.surplus_us(slow, 4, 500, now) == 0);
}

BOOST_AUTO_TEST_CASE(what_is_forgotten_is_not_under_way) {
  replica_chooser chooser(1);
  auto ticket = chooser.sent(0, 1, 0);
  chooser.forget(0);
  double idle = chooser.predict(0, 1, 0);
  chooser.replied(ticket, {1e6, 1, 0, 0}, 10);
  chooser.lost(ticket);
  BOOST_TEST(chooser.predict(0, 1, 0) == idle);
}

BOOST_AUTO_TEST_SUITE_END()
