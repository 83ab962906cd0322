// The sampler against its definition: what may be drawn, how often, and from which logits.
#include "model/sampler.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

using namespace coel;
using model::sampler;

namespace {

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinite = std::numeric_limits<float>::infinity();

/// Everything off but the draw itself.
sampling_params bare() {
  sampling_params p;
  p.temperature = 1;
  p.top_k = 0;
  p.top_p = 1;
  p.min_p = 0;
  p.seed = 11;
  return p;
}

std::vector<float> random_logits(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> logits(n);
  for (auto& x : logits)
    x = static_cast<float>(random() % 2000) / 100 - 10;
  return logits;
}

std::map<int32_t, int> counts(const sampling_params& p, const std::vector<float>& logits, int draws,
                              std::span<const int32_t> history = {}) {
  sampler s(p);
  std::map<int32_t, int> seen;
  for (int i = 0; i < draws; ++i)
    ++seen[s.draw(logits, history).id];
  return seen;
}

} // namespace

BOOST_AUTO_TEST_SUITE(sampler_test)

BOOST_AUTO_TEST_CASE(parameters_out_of_range_are_named) {
  auto refused = [](const char* field, auto change) {
    sampling_params p;
    change(p);
    auto ok = model::check(p);
    BOOST_REQUIRE(!ok.ok());
    BOOST_TEST((ok.err().code == ec::bad_argument));
    BOOST_TEST(ok.err().message.find(field) != std::string::npos, ok.err().message);
  };
  BOOST_TEST(model::check(sampling_params{}).ok());
  for (float bad : {-0.1f, nan_value, infinite}) {
    refused("temperature", [&](auto& p) { p.temperature = bad; });
    refused("top_p", [&](auto& p) { p.top_p = bad; });
    refused("min_p", [&](auto& p) { p.min_p = bad; });
    refused("repeat_penalty", [&](auto& p) { p.repeat_penalty = bad; });
  }
  refused("top_p", [](auto& p) { p.top_p = 0; });
  refused("repeat_penalty", [](auto& p) { p.repeat_penalty = 0; });
  refused("logprobs", [](auto& p) { p.logprobs = 21; });
  refused("stop", [](auto& p) { p.stop = {"a", ""}; });
}

BOOST_AUTO_TEST_CASE(same_seed_same_tokens) {
  auto logits = random_logits(200, 1);
  auto run = [&](uint64_t seed) {
    auto p = bare();
    p.seed = seed;
    sampler s(p);
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i)
      ids.push_back(s.draw(logits, ids).id);
    return ids;
  };
  BOOST_TEST(run(5) == run(5), boost::test_tools::per_element());
  BOOST_TEST((run(5) != run(6)));
}

BOOST_AUTO_TEST_CASE(an_answer_goes_on_in_another_sampler) {
  auto logits = random_logits(200, 1);
  auto p = bare();
  sampler whole(p);
  std::vector<int32_t> ids;
  for (int i = 0; i < 40; ++i)
    ids.push_back(whole.draw(logits, {}).id);
  for (size_t cut = 0; cut < ids.size(); ++cut) {
    sampler rest(p, cut);
    for (size_t i = cut; i < ids.size(); ++i)
      BOOST_TEST(rest.draw(logits, {}).id == ids[i]);
  }
}

// Each draw's chance must be even over seeds too: many answers begin with draw 0 of seeds 1,
// 2, 3...
BOOST_AUTO_TEST_CASE(neighbouring_seeds_are_independent) {
  const std::vector<float> even(4, 0.f);
  std::map<int32_t, int> first;
  std::map<std::pair<int32_t, int32_t>, int> pairs;
  const int seeds = 8000;
  auto p = bare();
  for (p.seed = 1; p.seed <= seeds; ++p.seed) {
    sampler s(p);
    auto a = s.draw(even, {}).id, b = s.draw(even, {}).id;
    ++first[a], ++pairs[{a, b}];
  }
  for (int32_t a = 0; a < 4; ++a) {
    BOOST_TEST(std::abs(first[a] / double(seeds) - 0.25) < 0.03); // over 5 sigma
    for (int32_t b = 0; b < 4; ++b)
      BOOST_TEST((std::abs(pairs[{a, b}] / double(seeds) - 0.0625) < 0.015));
  }
}

BOOST_AUTO_TEST_CASE(greedy_takes_the_largest_and_the_first_of_equals) {
  auto p = bare();
  p.temperature = 0;
  BOOST_TEST(sampler(p).draw(std::vector<float>{1, 7, 7, 3}, {}).id == 1);
}

BOOST_AUTO_TEST_CASE(draws_follow_the_softmax) {
  const std::vector<float> logits{std::log(1.f), std::log(2.f), std::log(5.f)};
  const int draws = 20000;
  auto check = [&](float temperature) {
    auto p = bare();
    p.temperature = temperature;
    auto seen = counts(p, logits, draws);
    double total = 0;
    for (auto x : logits)
      total += std::exp(x / temperature);
    for (int32_t id = 0; id < 3; ++id) {
      const double expected = std::exp(logits[static_cast<size_t>(id)] / temperature) / total;
      BOOST_TEST(std::abs(seen[id] / double(draws) - expected) < 0.02); // over 5 sigma
    }
  };
  check(1.f);
  check(0.5f);
  check(3.f);
}

BOOST_AUTO_TEST_CASE(top_k_keeps_the_k_largest) {
  auto logits = random_logits(50, 3);
  logits[7] = 20, logits[9] = 20.5f, logits[30] = 19.5f;
  auto p = bare();
  p.top_k = 3;
  auto seen = counts(p, logits, 2000);
  BOOST_TEST(seen.size() == 3u);
  BOOST_TEST((seen.count(7) && seen.count(9) && seen.count(30)));
  p.top_k = 1000; // more than there are
  BOOST_TEST(counts(p, {1, 1}, 200).size() == 2u);
}

BOOST_AUTO_TEST_CASE(top_p_keeps_the_fewest_that_reach_p) {
  const std::vector<float> logits{std::log(0.1f), std::log(0.5f), std::log(0.3f), std::log(0.1f)};
  auto p = bare();
  for (auto [top_p, kept] :
       {std::pair{0.4f, 1u}, {0.7f, 2u}, {0.85f, 3u}, {0.95f, 4u}, {1e-6f, 1u}}) {
    p.top_p = top_p;
    BOOST_TEST(counts(p, logits, 3000).size() == kept);
  }
}

BOOST_AUTO_TEST_CASE(min_p_is_relative_to_the_most_likely) {
  const std::vector<float> logits{std::log(0.6f), std::log(0.3f), std::log(0.07f), std::log(0.03f)};
  auto p = bare();
  for (auto [min_p, kept] : {std::pair{0.04f, 4u}, {0.1f, 3u}, {0.4f, 2u}, {0.9f, 1u}, {1.f, 1u}}) {
    p.min_p = min_p;
    BOOST_TEST(counts(p, logits, 3000).size() == kept);
  }
}

BOOST_AUTO_TEST_CASE(penalty_lowers_what_was_said_lately) {
  auto p = bare();
  p.temperature = 0;
  p.repeat_penalty = 2;
  const std::vector<int32_t> said{0, 0, -5, 9999}; // ids out of range do no harm
  BOOST_TEST(sampler(p).draw(std::vector<float>{3, 2}, said).id == 1);
  BOOST_TEST(sampler(p).draw(std::vector<float>{-1, -1.5f}, said).id == 1);
  BOOST_TEST(sampler(p).draw(std::vector<float>{5, 2}, said).id == 0); // once, not once per use
  p.repeat_last_n = 2;
  BOOST_TEST(sampler(p).draw(std::vector<float>{3, 2}, said).id == 0); // too long ago
}

BOOST_AUTO_TEST_CASE(logprobs_are_of_the_untouched_logits) {
  auto logits = random_logits(300, 8);
  auto p = bare();
  p.temperature = 0.3f;
  p.top_k = 2;
  p.repeat_penalty = 1.5f;
  p.logprobs = 5;
  double total = 0;
  for (auto x : logits)
    total += std::exp(double{x});
  auto drawn = sampler(p).draw(logits, std::vector<int32_t>{1, 2, 3});
  auto expected = [&](int32_t id) { return logits[static_cast<size_t>(id)] - std::log(total); };
  BOOST_TEST(std::abs(drawn.logprob - expected(drawn.id)) < 1e-4);
  BOOST_REQUIRE_EQUAL(drawn.top.size(), 5u);
  std::set<int32_t> ids;
  for (size_t i = 0; i < 5; ++i) {
    ids.insert(drawn.top[i].id);
    BOOST_TEST(std::abs(drawn.top[i].logprob - expected(drawn.top[i].id)) < 1e-4);
    BOOST_TEST((i == 0 || drawn.top[i].logprob <= drawn.top[i - 1].logprob));
  }
  BOOST_TEST(ids.size() == 5u);
  BOOST_TEST(model::log_probability(logits, drawn.id) == drawn.logprob);
}

BOOST_AUTO_TEST_CASE(nan_is_never_drawn_nor_reported) {
  std::vector<float> logits(100, nan_value);
  logits[42] = -3;
  auto p = bare();
  p.logprobs = 3;
  for (float temperature : {0.f, 1.f}) {
    p.temperature = temperature;
    auto drawn = sampler(p).draw(logits, {});
    BOOST_TEST(drawn.id == 42);
    BOOST_TEST(drawn.logprob == 0.f);
    BOOST_TEST(drawn.top.front().id == 42);
    BOOST_TEST(drawn.top.back().logprob == -infinite);
  }
  BOOST_TEST(model::log_probability(logits, 1) == -infinite);
}

BOOST_AUTO_TEST_CASE(degenerate_logits_still_give_a_token) {
  for (float same : {nan_value, infinite, -infinite, 0.f})
    for (float temperature : {0.f, 1e-30f, 1.f, 100.f}) {
      auto p = bare();
      p.temperature = temperature;
      p.top_p = 0.5f;
      p.min_p = 0.5f;
      p.repeat_penalty = 3;
      auto drawn = sampler(p).draw(std::vector<float>(10, same), std::vector<int32_t>{1});
      BOOST_TEST((drawn.id >= 0 && drawn.id < 10));
      BOOST_TEST(std::abs(drawn.logprob + std::log(10.f)) < 1e-5);
    }
  BOOST_TEST(sampler(bare()).draw({}, {}).id == 0);
  BOOST_TEST(model::log_probability({}, 0) == -infinite);
  BOOST_TEST(model::log_probability(std::vector<float>{1}, -1) == -infinite);
}

BOOST_AUTO_TEST_SUITE_END()
