#include "policy/expert_predictor.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <numeric>
#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

constexpr routing_shape shape{6, 24, 3};

/// Tokens whose choice in a layer follows from the one before, but for some noise.
class source_of_routing {
 public:
  explicit source_of_routing(uint32_t seed, double noise = 0.2) : random_(seed), noise_(noise) {
    std::mt19937 fixed(99); // all sources follow the same rule
    for (auto& next : next_) {
      next.resize(shape.experts);
      std::iota(next.begin(), next.end(), 0);
      std::shuffle(next.begin(), next.end(), fixed);
    }
  }
  std::vector<int32_t> choose(uint32_t layer) {
    std::vector<int32_t> ids;
    for (uint32_t k = 0; k < shape.top_k; ++k) {
      bool follow = !last_.empty() && std::uniform_real_distribution<>(0, 1)(random_) > noise_;
      auto e = follow ? next_[layer][static_cast<size_t>(last_[k])]
                      : static_cast<int32_t>(random_() % shape.experts);
      while (std::find(ids.begin(), ids.end(), e) != ids.end())
        e = (e + 1) % static_cast<int32_t>(shape.experts);
      ids.push_back(e);
    }
    last_ = ids;
    return ids;
  }

 private:
  std::mt19937 random_;
  double noise_;
  std::array<std::vector<int32_t>, shape.layers> next_;
  std::vector<int32_t> last_;
};

/// Runs tokens through, predicting up to `ahead` layers before each.
void teach(expert_predictor& p, source_of_routing& from, size_t tokens, uint32_t ahead) {
  route_history history(shape);
  std::vector<std::pair<uint64_t, expert_predictor::prediction>> open;
  for (uint64_t step = 0; step < tokens * shape.layers; ++step) {
    auto chosen = from.choose(static_cast<uint32_t>(step % shape.layers));
    for (auto& [due, what] : open)
      if (due == step)
        p.learn(what, chosen);
    std::erase_if(open, [&](const auto& o) { return o.first <= step; });
    history.chose(chosen);
    for (uint32_t a = 1; a <= ahead; ++a)
      open.emplace_back(step + a,
                        p.predict(static_cast<layer_id>((step + a) % shape.layers), a, history));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(predictors_of_experts)

BOOST_AUTO_TEST_CASE(history_keeps_what_was_chosen_last) {
  route_history h(shape);
  BOOST_CHECK(h.last(0).empty());
  for (int32_t step = 0; step < 50; ++step) {
    h.chose(std::vector<int32_t>{step % 24, (step + 1) % 24, (step + 2) % 24});
    for (uint32_t back = 0; back <= shape.layers; ++back) {
      auto got = h.last(back);
      if (static_cast<int32_t>(back) > step) {
        BOOST_REQUIRE(got.empty());
        continue;
      }
      BOOST_REQUIRE_EQUAL(got.size(), 3u);
      BOOST_REQUIRE_EQUAL(got[0], static_cast<uint16_t>((step - static_cast<int32_t>(back)) % 24));
    }
  }
  BOOST_CHECK(h.last(100).empty());
}

BOOST_AUTO_TEST_CASE(learns_what_follows_what_and_less_the_further_ahead) {
  expert_predictor p(shape);
  source_of_routing from(1);
  teach(p, from, 4000, 3);
  for (uint32_t l = 0; l < shape.layers; ++l) {
    auto layer = static_cast<layer_id>(l);
    const auto &one = p.scored(layer, 1), &three = p.scored(layer, 3);
    BOOST_CHECK_GT(one.recall, 0.7);
    BOOST_CHECK_GT(one.recall, one.recall_of_popular + 0.3);
    BOOST_CHECK_GT(one.recall_of_double, one.recall);
    BOOST_CHECK_GT(one.recall, three.recall);
    BOOST_CHECK_GT(three.recall, three.recall_of_popular);
    BOOST_CHECK_GT(one.seen, 3000u);
  }
}

BOOST_AUTO_TEST_CASE(noise_is_not_taken_for_a_rule) {
  expert_predictor p(shape);
  source_of_routing from(2, 1.0);
  teach(p, from, 2000, 1);
  for (uint32_t l = 0; l < shape.layers; ++l)
    BOOST_CHECK_LT(p.scored(static_cast<layer_id>(l), 1).recall, 0.2); // chance is 1/8
}

BOOST_AUTO_TEST_CASE(probabilities_are_calibrated) {
  expert_predictor p(shape);
  source_of_routing from(3);
  teach(p, from, 4000, 1);
  route_history h(shape);
  double predicted = 0, came = 0;
  for (uint32_t step = 0; step < 300 * shape.layers; ++step) {
    auto layer = static_cast<layer_id>(step % shape.layers);
    auto guess = p.predict(layer, 1, h);
    auto chosen = from.choose(step % shape.layers);
    for (uint32_t e = 0; e < shape.experts; ++e)
      if (guess.probability[e] > 0.5) {
        predicted += guess.probability[e];
        came += std::find(chosen.begin(), chosen.end(), static_cast<int32_t>(e)) != chosen.end();
      }
    h.chose(chosen);
  }
  BOOST_CHECK_GT(came, 1000);
  BOOST_CHECK_CLOSE(predicted, came, 15);
}

BOOST_AUTO_TEST_CASE(a_router_that_knows_is_believed) {
  expert_predictor p(shape);
  source_of_routing from(4, 1.0); // history says nothing
  route_history h(shape);
  std::mt19937 random(5);
  std::normal_distribution<float> noise(0, 0.5f);
  double right = 0, all = 0;
  for (uint32_t step = 0; step < 3000 * shape.layers; ++step) {
    auto chosen = from.choose(step % shape.layers);
    std::vector<float> logits(shape.experts);
    for (auto& x : logits)
      x = noise(random);
    for (auto c : chosen)
      logits[static_cast<size_t>(c)] += 2;
    auto guess = p.predict(static_cast<layer_id>(step % shape.layers), 1, h, logits);
    if (step > 2000 * shape.layers)
      for (uint32_t e = 0; e < shape.experts; ++e)
        if (guess.probability[e] > 0.5) {
          ++all;
          right += std::find(chosen.begin(), chosen.end(), static_cast<int32_t>(e)) != chosen.end();
        }
    p.learn(guess, chosen);
    h.chose(chosen);
  }
  BOOST_CHECK_GT(p.scored(layer_id{2}, 1).recall, 0.85);
  BOOST_CHECK_GT(right / all, 0.85);
  BOOST_CHECK_GT(all, 2000);
}

BOOST_AUTO_TEST_CASE(rows_together_want_what_any_of_them_wants) {
  expert_predictor::prediction a, b;
  a.probability = {0.5f, 0.f, 1.f};
  b.probability = {0.5f, 0.25f, 0.f};
  auto p = any_of({a, b});
  BOOST_REQUIRE_EQUAL(p.size(), 3u);
  BOOST_CHECK_CLOSE(p[0], 0.75f, 1e-4);
  BOOST_CHECK_CLOSE(p[1], 0.25f, 1e-4);
  BOOST_CHECK_CLOSE(p[2], 1.f, 1e-4);
  BOOST_CHECK(any_of({}).empty());
}

BOOST_AUTO_TEST_CASE(what_is_saved_predicts_the_same) {
  expert_predictor p(shape);
  source_of_routing from(6);
  teach(p, from, 300, 2);
  auto bytes = p.save();
  auto again = expert_predictor::load(bytes, shape);
  BOOST_REQUIRE(again.ok());
  route_history h(shape);
  for (uint32_t step = 0; step < 20; ++step)
    h.chose(from.choose(step % shape.layers));
  for (uint32_t l = 0; l < shape.layers; ++l)
    for (uint32_t a = 1; a <= 2; ++a)
      BOOST_CHECK(p.predict(static_cast<layer_id>(l), a, h).probability ==
                  again->predict(static_cast<layer_id>(l), a, h).probability);
  BOOST_CHECK(again->save() == bytes);
}

BOOST_AUTO_TEST_CASE(damaged_or_foreign_bytes_are_refused) {
  expert_predictor p(shape);
  auto bytes = p.save();
  auto refused = [](std::span<const std::byte> b, const routing_shape& s) {
    auto got = expert_predictor::load(b, s);
    return !got.ok() && got.err().code == ec::bad_file;
  };
  BOOST_CHECK(refused({}, shape));
  BOOST_CHECK(refused(std::span(bytes).first(bytes.size() - 1), shape));
  BOOST_CHECK(refused(bytes, {6, 23, 3}));
  BOOST_CHECK(refused(bytes, {6, 24, 2})); // of the same length
  for (size_t i = 0; i < bytes.size(); i += 97) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{4};
    BOOST_REQUIRE(refused(damaged, shape));
  }
}

BOOST_AUTO_TEST_SUITE_END()
