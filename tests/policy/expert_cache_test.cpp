#include "policy/expert_cache.hpp"

#include <boost/test/unit_test.hpp>

#include <random>
#include <set>

using namespace coel;
using namespace coel::policy;

namespace {

constexpr cache_shape shape{4, 16};

expert_key key(uint32_t l, uint32_t e) {
  return {static_cast<layer_id>(l), static_cast<expert_id>(e)};
}

bool nobody(expert_key) {
  return false;
}

/// Skewed choices: small ids often.
std::vector<routed_step> recording(std::mt19937& random, size_t tokens) {
  std::vector<routed_step> steps;
  std::geometric_distribution<uint32_t> skewed(0.2);
  for (size_t t = 0; t < tokens; ++t)
    for (uint32_t l = 0; l < shape.layers; ++l) {
      std::set<uint32_t> chosen;
      while (chosen.size() < 3)
        chosen.insert((skewed(random) + 5 * l) % shape.experts);
      routed_step s{static_cast<layer_id>(l), {}, 1};
      for (auto e : chosen)
        s.used.push_back({static_cast<expert_id>(e), 1});
      steps.push_back(std::move(s));
    }
  return steps;
}

size_t hits_of(expert_cache& cache, const std::vector<routed_step>& steps) {
  size_t hits = 0;
  for (const auto& s : steps) {
    cache.routed(s.layer, s.used, s.tokens);
    std::set<expert_key> now;
    for (const auto& u : s.used)
      now.insert({s.layer, u.expert});
    for (auto k : now) {
      if (cache.holds(k)) {
        ++hits;
        continue;
      }
      auto d = cache.decide(k, 1, [&](expert_key v) { return now.count(v) > 0; });
      for (auto v : d.victims)
        cache.erase(v);
      if (d.admit)
        cache.insert(k, 1);
    }
  }
  return hits;
}

size_t hits_with(cache_value_ptr rule, uint64_t capacity, const std::vector<routed_step>& steps) {
  expert_cache cache(shape, capacity, std::move(rule));
  return hits_of(cache, steps);
}

} // namespace

BOOST_AUTO_TEST_SUITE(caches_of_experts)

BOOST_AUTO_TEST_CASE(never_holds_more_than_fits_nor_lets_go_of_what_it_must_keep) {
  for (uint32_t seed = 0; seed < 30; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      uint64_t capacity = 50 + random() % 200;
      expert_cache cache(shape, capacity, activation_aware(shape));
      std::set<expert_key> held, pinned, busy;
      for (int i = 0; i < 2000; ++i) {
        uint32_t l = random() % shape.layers;
        expert_use use{static_cast<expert_id>(random() % shape.experts),
                       static_cast<uint32_t>(1 + random() % 3)};
        cache.routed(static_cast<layer_id>(l), {&use, 1}, 4);
        auto k = key(l, index(use.expert));
        busy.clear();
        for (auto h : held)
          if (random() % 4 == 0)
            busy.insert(h);
        auto d =
            cache.decide(k, 5 + random() % 20, [&](expert_key v) { return busy.count(v) > 0; });
        BOOST_REQUIRE(d.admit || d.victims.empty());
        BOOST_REQUIRE(!d.admit || !held.count(k));
        for (auto v : d.victims) {
          BOOST_REQUIRE(held.count(v) && !pinned.count(v) && !busy.count(v));
          BOOST_REQUIRE_LT(cache.value(v), cache.value(k));
          cache.erase(v);
          held.erase(v);
        }
        if (!d.admit)
          continue;
        uint64_t bytes = 5 + random() % 20;
        if (cache.used_bytes() + bytes > capacity)
          continue;
        cache.insert(k, bytes);
        held.insert(k);
        if (pinned.size() < 3) {
          cache.pin(k);
          pinned.insert(k);
        }
        uint64_t bytes_of_layers = 0;
        uint32_t experts = 0;
        for (uint32_t x = 0; x < shape.layers; ++x) {
          bytes_of_layers += cache.view(static_cast<layer_id>(x)).bytes;
          experts += cache.view(static_cast<layer_id>(x)).experts;
        }
        BOOST_REQUIRE_EQUAL(bytes_of_layers, cache.used_bytes());
        BOOST_REQUIRE_EQUAL(experts, held.size());
        BOOST_REQUIRE_LE(cache.used_bytes(), capacity);
      }
    }
}

BOOST_AUTO_TEST_CASE(what_is_worth_less_than_all_others_is_not_admitted) {
  expert_cache cache(shape, 2, activation_aware(shape));
  expert_use often[]{{expert_id{0}, 1}, {expert_id{1}, 1}};
  for (int i = 0; i < 50; ++i)
    cache.routed(layer_id{0}, often, 1);
  cache.insert(key(0, 0), 1);
  cache.insert(key(0, 1), 1);
  expert_use rare{expert_id{2}, 1};
  cache.routed(layer_id{0}, {&rare, 1}, 1);
  BOOST_CHECK(!cache.decide(key(0, 2), 1, nobody).admit);
  cache.resize(3);
  BOOST_CHECK(cache.decide(key(0, 2), 1, nobody).admit);
}

BOOST_AUTO_TEST_CASE(an_expert_larger_than_the_cache_is_never_admitted) {
  expert_cache cache(shape, 10, least_recent(shape));
  BOOST_CHECK(!cache.decide(key(0, 0), 11, nobody).admit);
  BOOST_CHECK(cache.decide(key(0, 0), 10, nobody).admit);
}

BOOST_AUTO_TEST_CASE(layers_whose_turn_is_near_are_worth_more) {
  auto rule = activation_aware(shape);
  expert_use same{expert_id{3}, 1};
  for (int i = 0; i < 20; ++i)
    for (uint32_t l = 0; l < shape.layers; ++l)
      rule->routed(static_cast<layer_id>(l), {&same, 1}, 1);
  rule->routed(layer_id{0}, {&same, 1}, 1);
  BOOST_CHECK_GT(rule->value(key(1, 3)), rule->value(key(2, 3)));
  BOOST_CHECK_GT(rule->value(key(2, 3)), rule->value(key(3, 3)));
  BOOST_CHECK_GT(rule->value(key(3, 3)), rule->value(key(0, 3)));
  BOOST_CHECK_GT(rule->value(key(0, 3)), rule->value(key(1, 4)));
}

BOOST_AUTO_TEST_CASE(nobody_beats_the_clairvoyant) {
  for (uint32_t seed = 0; seed < 5; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      auto steps = recording(random, 2000);
      for (uint64_t capacity : {6, 16, 32, 50}) {
        auto best = hits_with(clairvoyant(shape, steps), capacity, steps);
        auto ours = hits_with(activation_aware(shape), capacity, steps);
        auto lfu = hits_with(least_frequent(shape), capacity, steps);
        auto lru = hits_with(least_recent(shape), capacity, steps);
        BOOST_CHECK_LE(ours, best);
        BOOST_CHECK_LE(lfu, best);
        BOOST_CHECK_LE(lru, best);
        BOOST_CHECK_GT(ours, lru); // the loop over the layers is a scan
      }
    }
}

BOOST_AUTO_TEST_CASE(everything_fits_where_there_is_room) {
  std::mt19937 random(3);
  auto steps = recording(random, 500);
  std::set<expert_key> seen;
  size_t uses = 0;
  for (const auto& s : steps)
    for (const auto& u : s.used) {
      seen.insert({s.layer, u.expert});
      ++uses;
    }
  BOOST_CHECK_EQUAL(hits_with(activation_aware(shape), shape.slots(), steps), uses - seen.size());
}

BOOST_AUTO_TEST_CASE(frequencies_stay_finite_for_ever) {
  auto rule = activation_aware(shape, {8, 16, 0.5, 0.3});
  expert_use use{expert_id{1}, 512};
  for (int i = 0; i < 20'000; ++i)
    rule->routed(layer_id{0}, {&use, 1}, 512);
  BOOST_CHECK_GT(rule->value(key(0, 1)), 0.5);
  BOOST_CHECK_LT(rule->value(key(0, 1)), 1.01);
  BOOST_CHECK_EQUAL(rule->value(key(0, 2)), 0);
}

BOOST_AUTO_TEST_SUITE_END()
