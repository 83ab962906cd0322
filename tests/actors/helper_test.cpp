// The helper runs neighbours' rows through the experts here, or says why not.
#include "actors/helper.hpp"
#include "helper_world.hpp"

#include <limits>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

struct helping : helper_world {
  error refusal(const helper_actor& of, remote_dispatch ask) {
    error why;
    self->request(of, generous, std::move(ask))
        .receive([](const partial_sum&) { BOOST_ERROR("it was not refused"); },
                 [&](caf::error& e) { why = from_caf(e); });
    return why;
  }
  void check_refused(const helper_actor& of, remote_dispatch ask, std::string_view code) {
    auto why = refusal(of, std::move(ask));
    BOOST_TEST(to_string(why.code) == code);
    BOOST_TEST(!why.message.empty());
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(helper_actor_, helping)

BOOST_AUTO_TEST_CASE(its_sum_is_what_a_gate_would_have_added) {
  auto helps = make_helper();
  for (const auto& experts : {std::vector<uint32_t>{3}, {0, 5, 9}, {model->config().experts}}) {
    auto ask = question(experts);
    auto wanted = computed(ask).values;
    for (int again = 0; again < 2; ++again) // in memory that was used before
      BOOST_TEST((sum_of(helps, ask).values == wanted));
  }
}

BOOST_AUTO_TEST_CASE(rows_are_those_of_each_expert) {
  auto helps = make_helper();
  auto ask = question({3, 5});
  ask.experts[0].rows = {1};
  ask.experts[0].weights = {0.5f};
  auto both = sum_of(helps, ask).values;
  BOOST_TEST((both == computed(ask).values));
  ask.experts.erase(ask.experts.begin());
  auto second = sum_of(helps, ask).values;
  for (uint32_t i = 0; i < hidden(); ++i) // row 0 went through the second alone
    BOOST_REQUIRE_EQUAL(both[i], second[i]);
}

BOOST_AUTO_TEST_CASE(many_dispatches_at_once_keep_apart) {
  auto helps = make_helper();
  std::vector<remote_dispatch> asks;
  for (uint32_t e = 0; e < 16; ++e)
    asks.push_back(question({e}));
  using pending = decltype(self->request(helps, generous, asks[0]));
  std::vector<std::unique_ptr<pending>> answers;
  for (const auto& ask : asks)
    answers.push_back(std::make_unique<pending>(self->request(helps, generous, ask)));
  for (size_t i = 0; i < asks.size(); ++i)
    answers[i]->receive(
        [&](const partial_sum& sum) { BOOST_TEST((sum.values == computed(asks[i]).values)); },
        [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_the_model_is_refused) {
  auto helps = make_helper();
  const auto good = question({3});
  auto but = [&](auto change) {
    auto bad = good;
    change(bad);
    return bad;
  };
  check_refused(helps, but([](auto& d) { d.model.fill(std::byte{1}); }), "unknown_model");
  check_refused(helps, but([&](auto& d) { d.layer = layer_id(model->config().layers); }),
                "bad_frame");
  check_refused(helps, but([](auto& d) { d.hidden /= 2; }), "bad_frame");
  check_refused(helps, but([](auto& d) { d.activations.pop_back(); }), "bad_frame");
  check_refused(helps, but([](auto& d) { d.rows = 0, d.activations.clear(); }), "bad_frame");
  check_refused(helps,
                but([&](auto& d) { d.rows = 17, d.activations.resize(size_t{17} * hidden()); }),
                "bad_frame");
  check_refused(helps,
                but([&](auto& d) { d.experts[0].expert = expert_id(model->experts_per_layer); }),
                "bad_frame");
  check_refused(helps, but([](auto& d) { d.experts[0].weights.pop_back(); }), "bad_frame");
  BOOST_TEST((sum_of(helps, good).values == computed(good).values));
}

BOOST_AUTO_TEST_CASE(more_than_it_can_hold_is_refused) {
  auto helps = make_helper({}, 1);
  auto ask = question({3});
  busy_device held(*device);
  auto first = self->request(helps, generous, ask);
  check_refused(helps, ask, "busy");
  held.end();
  first.receive([&](const partial_sum& sum) { BOOST_TEST((sum.values == computed(ask).values)); },
                [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
  BOOST_TEST((sum_of(helps, ask).values == computed(ask).values));
}

BOOST_AUTO_TEST_CASE(an_expert_that_does_not_load_is_the_reason) {
  auto helps = make_helper({{3, 1}});
  auto ask = question({0, 3, 5});
  auto why = refusal(helps, ask);
  BOOST_TEST(to_string(why.code) == "out_of_memory");
  BOOST_TEST(why.message == "no room for this expert");
  BOOST_TEST((sum_of(helps, ask).values == computed(ask).values));
}

BOOST_AUTO_TEST_CASE(a_sum_that_is_not_finite_fails_that_dispatch_alone) {
  auto helps = make_helper();
  auto good = question({0, 3});
  for (float odd : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN()}) {
    auto ask = good;
    ask.experts[1].weights[1] = odd;
    auto why = refusal(helps, ask);
    BOOST_TEST(to_string(why.code) == "bad_file");
    BOOST_TEST(holds(why.message, "not a number"), why.message);
    BOOST_TEST(holds(why.message, "'tiny'"), why.message);
  }
  auto large = good;
  for (auto& a : large.activations)
    a = 3e38f;
  BOOST_TEST(to_string(refusal(helps, large).code) == "bad_file");
  BOOST_TEST((sum_of(helps, good).values == computed(good).values));
}

BOOST_AUTO_TEST_CASE(it_tells_what_its_runs_cost) {
  BOOST_TEST((model->costs->speed(here) == expert_speed{}));
  auto helps = make_helper();
  auto sum = sum_of(helps, question({0, 3, 5}));
  BOOST_TEST((model->costs->speed(here) != expert_speed{}));
  BOOST_TEST(sum.wait_us + sum.run_us > 0u);
}

BOOST_AUTO_TEST_SUITE_END()
