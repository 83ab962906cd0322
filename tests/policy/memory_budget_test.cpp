#include "policy/memory_budget.hpp"
#include "policy/miss_choice.hpp"
#include "policy/prefetch_switch.hpp"

#include <boost/test/unit_test.hpp>

#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

constexpr uint64_t mib = 1 << 20, gib = mib << 10;

/// About Qwen1.5-MoE-A2.7B in q4_0.
memory_needs a_model() {
  memory_needs n;
  n.dense_bytes = 900 * mib;
  n.shared_bytes = 24 * 4 * 5 * mib;
  n.expert_bytes = n.read_bytes = 5 * mib;
  n.layers = 24;
  n.experts = 60;
  n.top_k = 4;
  n.routed_bytes = uint64_t{n.layers} * n.experts * n.expert_bytes;
  n.kv_page_bytes = 6 * mib;
  n.kv_pages_least = 1;
  n.kv_pages_wanted = 256;
  n.step_bytes = 80 * mib;
  n.process_bytes = 100 * mib;
  return n;
}

} // namespace

BOOST_AUTO_TEST_SUITE(memory_budgets)

BOOST_AUTO_TEST_CASE(a_plan_never_takes_more_than_it_may) {
  auto n = a_model();
  for (uint64_t budget = least_budget(n); budget < full_budget(n); budget += 37 * mib) {
    auto p = plan_memory(n, budget);
    BOOST_REQUIRE(p.ok());
    BOOST_REQUIRE_LE(total_bytes(*p), budget);
    BOOST_REQUIRE_GE(total_bytes(*p) + n.kv_page_bytes + n.read_bytes, budget); // and leaves little
    BOOST_REQUIRE(!p->all_fit);
    BOOST_REQUIRE_GE(p->staging_slots, 2u);
    BOOST_REQUIRE_GE(p->transient_bytes, (n.top_k + 1) * n.expert_bytes);
    BOOST_REQUIRE_GE(p->kv_pages, n.kv_pages_least);
    BOOST_REQUIRE_LE(p->kv_pages, n.kv_pages_wanted);
  }
}

BOOST_AUTO_TEST_CASE(where_all_fits_nothing_is_staged) {
  auto n = a_model();
  for (uint64_t budget : {uint64_t{0}, full_budget(n), full_budget(n) + gib}) {
    auto p = plan_memory(n, budget);
    BOOST_REQUIRE(p.ok());
    BOOST_CHECK(p->all_fit);
    BOOST_CHECK_EQUAL(p->staging_bytes + p->transient_bytes, 0u);
    BOOST_CHECK_EQUAL(p->cache_bytes, n.routed_bytes);
    BOOST_CHECK_EQUAL(p->kv_pages, n.kv_pages_wanted);
  }
}

BOOST_AUTO_TEST_CASE(a_share_of_the_experts_is_what_the_cache_gets) {
  auto n = a_model();
  for (double share : {0.125, 0.25, 0.5}) {
    auto p = plan_share(n, share);
    BOOST_CHECK_CLOSE(static_cast<double>(p.cache_bytes), share * double(n.routed_bytes), 1e-3);
    auto again = plan_memory(n, total_bytes(p));
    BOOST_REQUIRE(again.ok()); // a budget like any other
    BOOST_CHECK(!again->all_fit);
  }
}

BOOST_AUTO_TEST_CASE(too_little_is_refused_and_what_would_do_is_named) {
  auto n = a_model();
  auto p = plan_memory(n, least_budget(n) - 1);
  BOOST_REQUIRE(!p.ok());
  BOOST_CHECK(p.err().code == ec::out_of_memory);
  BOOST_CHECK(p.err().message.find("--ram") != std::string::npos);
  BOOST_CHECK(p.err().message.find("GiB") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(more_memory_never_makes_it_slower) {
  auto n = a_model();
  double last = 0;
  for (uint64_t budget = least_budget(n); budget < full_budget(n) + gib; budget += 100 * mib) {
    auto s = predict_speed(n, *plan_memory(n, budget), usual_hit_curve(), {80'000, 1e9, true});
    BOOST_REQUIRE_GE(s.tokens_per_s, last);
    last = s.tokens_per_s;
  }
  BOOST_CHECK_CLOSE(last, 12.5, 1e-6);
}

BOOST_AUTO_TEST_CASE(speed_is_compute_and_what_reading_adds) {
  auto n = a_model();
  memory_plan p;
  p.cache_share = 0.5;
  auto s = predict_speed(n, p, {{0, 0}, {1, 1}}, {100'000, 1e9, true});
  BOOST_CHECK_CLOSE(s.hits, 0.5, 1e-6);
  double bytes = 0.5 * 24 * 4 * 5 * mib;
  BOOST_CHECK_CLOSE(s.read_bytes_per_token, bytes, 1e-6);
  double read_us = bytes / 1e9 * 1e6;
  BOOST_CHECK_CLOSE(s.tokens_per_s, 1e6 / (100'000 + s.stall_us_per_token), 1e-6);
  BOOST_CHECK_LT(s.stall_us_per_token, read_us); // a part of it goes on meanwhile
  BOOST_CHECK_GT(s.stall_us_per_token, read_us / 2);
  auto packs = predict_speed(n, p, {{0, 0}, {1, 1}}, {100'000, 1e9, false});
  BOOST_CHECK_LT(packs.tokens_per_s, s.tokens_per_s);
  auto hurried = predict_speed(n, p, {{0, 0}, {1, 1}}, {1'000, 1e9, true});
  BOOST_CHECK_GE(hurried.stall_us_per_token, read_us - 1'000); // nothing hides more than there is
}

BOOST_AUTO_TEST_CASE(curves_rise_from_nothing_to_all) {
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    std::vector<double> use(1 + random() % 200);
    for (auto& u : use)
      u = random() % 1000 + 1;
    auto curve = popularity_curve(use);
    double last = 0;
    for (double share = 0; share <= 1; share += 0.01) {
      double h = hits_at(curve, share);
      BOOST_REQUIRE_GE(h, last);
      BOOST_REQUIRE_GE(h, share - 0.01 - 1.0 / use.size()); // never worse than chance
      last = h;
    }
    BOOST_REQUIRE_CLOSE(hits_at(curve, 1), 1.0, 1e-6);
    BOOST_REQUIRE_EQUAL(hits_at(curve, -1), 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(misses)

BOOST_AUTO_TEST_CASE(the_fastest_way_is_taken) {
  miss_question q;
  q.bytes = 5'000'000;
  q.disk_bytes_per_s = 1e9;
  q.pack_us = 500;
  q.run_us = 100;
  BOOST_CHECK(choose_way(q).way == miss_way::wait);
  BOOST_CHECK_CLOSE(choose_way(q).us, 5600.0, 1e-6);
  q.peer = {1000, 100, 0, 200};
  BOOST_CHECK(choose_way(q).way == miss_way::peer);
  BOOST_CHECK_CLOSE(choose_way(q).us, 1300.0, 1e-6);
  q.peer->queue_us = 10'000;
  BOOST_CHECK(choose_way(q).way == miss_way::wait);
  q.lower_run_us = 80;
  BOOST_CHECK(choose_way(q).way == miss_way::lower);
}

BOOST_AUTO_TEST_CASE(what_is_read_first_is_waited_for_as_well) {
  miss_question q;
  q.bytes = 1'000'000;
  q.disk_bytes_per_s = 1e9;
  q.peer = {3000, 0, 0, 0};
  BOOST_CHECK(choose_way(q).way == miss_way::wait);
  q.bytes_before = 4'000'000;
  BOOST_CHECK(choose_way(q).way == miss_way::peer);
}

BOOST_AUTO_TEST_CASE(of_equal_ways_the_exact_one_here) {
  miss_question q;
  q.run_us = 100;
  q.lower_run_us = 100;
  q.peer = {100, 0, 0, 0};
  BOOST_CHECK(choose_way(q).way == miss_way::wait);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(prefetch_switches)

namespace {
void run_trial(prefetch_switch& s, double used_of_10, double saved, double cost) {
  for (uint32_t i = 0; i < prefetch_switch::trial; ++i)
    s.judged(i % 10 < used_of_10, saved, cost);
}
} // namespace

BOOST_AUTO_TEST_CASE(goes_off_where_it_costs_more_than_it_saves_and_on_again) {
  prefetch_switch s;
  BOOST_CHECK(s.on());
  run_trial(s, 9, 1000, 100);
  BOOST_CHECK(s.on());
  run_trial(s, 1, 1000, 500);
  BOOST_CHECK(!s.on());
  run_trial(s, 5, 1000, 450); // saves a little more than it costs: not enough to begin again
  BOOST_CHECK(!s.on());
  run_trial(s, 9, 1000, 450);
  BOOST_CHECK(s.on());
  BOOST_CHECK_EQUAL(s.switched(), 2u);
  BOOST_CHECK_GT(s.saved_us(), s.cost_us());
}

BOOST_AUTO_TEST_CASE(one_trial_that_ends_well_is_enough_to_stay) {
  prefetch_switch s;
  for (int i = 0; i < 10; ++i)
    run_trial(s, 5, 1000, 450);
  BOOST_CHECK(s.on());
  BOOST_CHECK_EQUAL(s.switched(), 0u);
}

BOOST_AUTO_TEST_SUITE_END()
