// Properties of the pure policies over seeded random instances; the seed is in the failure text.
#include "policy/admission.hpp"
#include "policy/batching.hpp"
#include "policy/kv_pages.hpp"
#include "policy/routing_stats.hpp"
#include "policy/routing_table.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

using namespace coel;
using namespace coel::policy;

namespace {

std::vector<batch_candidate> random_candidates(std::mt19937& random) {
  std::vector<batch_candidate> all(random() % 40);
  for (size_t i = 0; i < all.size(); ++i) {
    bool decoding = random() % 2;
    all[i] = {request_id{i}, decoding ? 1 : static_cast<uint32_t>(random() % 900 + 1), decoding,
              !decoding && random() % 5 == 0, static_cast<uint32_t>(random() % 4)};
  }
  return all;
}

std::vector<int32_t> random_ids(std::mt19937& random, uint32_t rows, uint32_t experts,
                                uint32_t top_k) {
  std::vector<int32_t> ids, all(experts);
  for (uint32_t e = 0; e < experts; ++e)
    all[e] = static_cast<int32_t>(e);
  for (uint32_t r = 0; r < rows; ++r) {
    std::shuffle(all.begin(), all.end(), random);
    ids.insert(ids.end(), all.begin(), all.begin() + top_k);
  }
  return ids;
}

} // namespace

BOOST_AUTO_TEST_SUITE(policies)

BOOST_AUTO_TEST_CASE(batches_keep_their_bounds_and_carry_every_decoding_session) {
  for (uint32_t seed = 1; seed <= 2000; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      batching_limits limits{static_cast<uint32_t>(random() % 500 + 40),
                             static_cast<uint32_t>(random() % 100 + 1), 64};
      auto candidates = random_candidates(random);
      auto plan = plan_batch(candidates, limits);
      BOOST_TEST(plan.empty() == candidates.empty());
      std::map<request_id, batch_candidate> by_id;
      for (const auto& c : candidates)
        by_id[c.id] = c;
      uint32_t rows = 0, prompt_rows = 0, logits = 0, decoding = 0;
      std::set<request_id> seen;
      for (const auto& s : plan) {
        const auto& c = by_id.at(s.id);
        BOOST_TEST(seen.insert(s.id).second);
        BOOST_TEST((s.rows >= 1 && s.rows <= c.rows));
        BOOST_TEST(s.logits == (c.every_row || s.rows == c.rows));
        rows += s.rows;
        prompt_rows += c.decoding ? 0 : s.rows;
        decoding += c.decoding;
        logits += s.logits ? (c.every_row ? s.rows : 1) : 0;
      }
      BOOST_TEST(rows <= limits.max_rows);
      BOOST_TEST(logits <= limits.max_logits);
      auto all_decoding = static_cast<uint32_t>(std::count_if(
          candidates.begin(), candidates.end(), [](const auto& c) { return c.decoding; }));
      BOOST_TEST(decoding == all_decoding);
      if (decoding)
        BOOST_TEST(prompt_rows <= limits.slice_rows);
    }
}

BOOST_AUTO_TEST_CASE(a_short_prompt_passes_a_long_one_after_a_slice) {
  batching_limits limits{100, 50, 64};
  auto plan = plan_batch(
      {{request_id{1}, 5000, false, false, 1}, {request_id{2}, 20, false, false, 0}}, limits);
  BOOST_REQUIRE_EQUAL(plan.size(), 2u);
  BOOST_TEST((plan[0].id == request_id{2}));
  BOOST_TEST(plan[0].logits);
  BOOST_TEST(plan[1].rows == 80u);
}

BOOST_AUTO_TEST_CASE(pages_are_never_given_twice) {
  for (uint32_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      kv_pages pool(static_cast<uint32_t>(random() % 50));
      std::set<uint32_t> out;
      std::vector<std::vector<uint32_t>> held;
      for (int step = 0; step < 100; ++step) {
        if (random() % 2 || held.empty()) {
          auto want = static_cast<uint32_t>(random() % 12);
          auto got = pool.take(want);
          BOOST_TEST(got.has_value() == (want <= pool.total() - out.size()));
          if (!got)
            continue;
          for (auto p : *got)
            BOOST_TEST(out.insert(p).second);
          held.push_back(*got);
        } else {
          pool.give_back(held.back());
          for (auto p : held.back())
            out.erase(p);
          held.pop_back();
        }
        BOOST_TEST(pool.used() == out.size());
      }
    }
}

BOOST_AUTO_TEST_CASE(admission_by_context_memory_room_and_queue) {
  admission_limits limits{1000, 32, 20, 4, 3};
  BOOST_TEST((admit(900, 101, limits, {20, 0, 0}, false) == admission_verdict::refuse_context));
  BOOST_TEST((admit(600, 100, limits, {20, 0, 0}, false) == admission_verdict::refuse_memory));
  BOOST_TEST((admit(100, 28, limits, {4, 0, 0}, false) == admission_verdict::start));
  BOOST_TEST((admit(100, 29, limits, {4, 0, 0}, false) == admission_verdict::wait));
  BOOST_TEST((admit(10, 10, limits, {20, 4, 0}, false) == admission_verdict::wait));
  BOOST_TEST((admit(10, 10, limits, {20, 0, 1}, true) == admission_verdict::wait));
  BOOST_TEST((admit(10, 10, limits, {20, 4, 3}, true) == admission_verdict::refuse_busy));
}

BOOST_AUTO_TEST_CASE(grouping_covers_every_choice_once) {
  for (uint32_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      uint32_t experts = random() % 20 + 4, top_k = random() % 4 + 1, rows = random() % 30 + 1;
      auto ids = random_ids(random, rows, experts, top_k);
      std::vector<float> weights(ids.size());
      for (auto& w : weights)
        w = static_cast<float>(random() % 1000);
      size_t choices = 0;
      for (const auto& g : group_by_expert(ids, weights, rows, experts)) {
        BOOST_TEST(std::is_sorted(g.rows.begin(), g.rows.end()));
        for (size_t i = 0; i < g.rows.size(); ++i, ++choices) {
          bool chosen = false;
          for (uint32_t k = 0; k < top_k; ++k)
            chosen |= ids[g.rows[i] * top_k + k] == index(g.expert) &&
                      weights[g.rows[i] * top_k + k] == g.weights[i];
          BOOST_TEST(chosen);
        }
      }
      BOOST_TEST(choices == ids.size());
    }
}

BOOST_AUTO_TEST_CASE(a_routing_table_says_who_holds_what) {
  bitmap even(6), third(6);
  for (size_t i = 0; i < 6; ++i) {
    even.set(i, i % 2 == 0);
    third.set(i, i == 3);
  }
  routing_table table(2, 3, {{node_id{2}, even}, {node_id{1}, third}, {node_id{4}, even}}, 9);
  BOOST_TEST(table.epoch() == 9u);
  BOOST_TEST((table.hosts({layer_id{0}, expert_id{0}}) == std::vector{node_id{2}, node_id{4}}));
  BOOST_TEST((table.hosts({layer_id{1}, expert_id{0}}) == std::vector{node_id{1}}));
  BOOST_TEST((table.hosts({layer_id{0}, expert_id{1}}).empty()));
  auto next = table.with({layer_id{0}, expert_id{1}}, {node_id{0}});
  BOOST_TEST(next.epoch() == 10u);
  BOOST_TEST((next.hosts({layer_id{0}, expert_id{1}}) == std::vector{node_id{0}}));
}

BOOST_AUTO_TEST_CASE(routing_statistics) {
  routing_stats stats({2, 4, 2}, 1);
  for (int step = 0; step < 3000; ++step) {
    stats.begin_step(2);
    std::vector<int32_t> first{0, 1, 0, 2}, second{3, 2, 3, 0};
    stats.add_layer(layer_id{0}, first);
    stats.add_layer(layer_id{1}, second);
    stats.end_step();
  }
  BOOST_TEST(stats.tokens() == 6000u);
  BOOST_TEST(stats.popularity({layer_id{0}, expert_id{0}}) == 1.0,
             boost::test_tools::tolerance(1e-9));
  BOOST_TEST(stats.popularity({layer_id{0}, expert_id{1}}) == 0.5,
             boost::test_tools::tolerance(1e-2));
  BOOST_TEST(stats.popularity({layer_id{0}, expert_id{3}}) == 0.0);
  BOOST_TEST(stats.successions(layer_id{0}, expert_id{0}, expert_id{3}) == 6000u);
  BOOST_TEST(stats.successions(layer_id{0}, expert_id{1}, expert_id{0}) == 0u);
  BOOST_TEST(stats.coactivations(layer_id{0}, expert_id{0}, expert_id{1}) == 3000u);
  BOOST_TEST(stats.coactivations(layer_id{0}, expert_id{0}, expert_id{0}) == 0u);
  BOOST_TEST(stats.sample().size() == routing_stats::reservoir_size);
  BOOST_TEST(stats.last_step().size() == 2u);
}

BOOST_AUTO_TEST_CASE(popularity_forgets_with_its_half_life) {
  routing_stats stats({1, 2, 1}, 1);
  auto run = [&](int32_t expert, int tokens) {
    for (int i = 0; i < tokens; ++i) {
      stats.begin_step(1);
      stats.add_layer(layer_id{0}, std::span(&expert, 1));
      stats.end_step();
    }
  };
  run(0, 200'000);
  run(1, 4096);
  BOOST_TEST(stats.popularity({layer_id{0}, expert_id{1}}) == 0.5,
             boost::test_tools::tolerance(1e-3));
}

BOOST_AUTO_TEST_SUITE_END()
