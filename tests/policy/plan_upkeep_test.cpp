// Plans are made anew when it matters, and not for noise.
#include "policy/plan_upkeep.hpp"
#include "policy/stage_upkeep.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::policy;

namespace {

plan_basis example() {
  plan_basis b;
  b.nodes = {{"a", true, 100, {20, 4}}, {"b", true, 80, {30, 6}}, {"c", false, 60, {0, 0}}};
  b.links = {{"a", "b", 200}, {"a", "c", 2000}};
  b.use.assign(40, 1.0);
  b.tokens = 1000;
  return b;
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_upkeep)

BOOST_AUTO_TEST_CASE(noise_is_no_reason) {
  auto then = example(), now = example();
  now.nodes[0].speed = {25, 5};
  now.nodes[1].room = 79;
  now.links[0].rtt_us = 450; // a little more, on a fast link
  now.links[1].rtt_us = 3000;
  for (size_t i = 0; i < now.use.size(); ++i)
    now.use[i] = i % 2 ? 1.1 : 0.9;
  now.tokens = 4000;
  now.sessions = 2;
  BOOST_TEST((reason_to_replan(then, now) == replan_reason::none));
}

BOOST_AUTO_TEST_CASE(each_change_that_matters_is_named) {
  auto then = example();
  auto after = [&](auto change) {
    auto now = example();
    change(now);
    return reason_to_replan(then, now);
  };
  BOOST_TEST((reason_to_replan({}, then) == replan_reason::first));
  BOOST_TEST((after([](auto& b) { b.nodes.pop_back(); }) == replan_reason::nodes));
  BOOST_TEST((after([](auto& b) { b.nodes[1].home = false; }) == replan_reason::nodes));
  BOOST_TEST((after([](auto& b) { b.nodes[2].room = 0; }) == replan_reason::nodes)); // it drains
  BOOST_TEST((after([](auto& b) { b.nodes[2].room = 40; }) == replan_reason::rooms));
  BOOST_TEST((after([](auto& b) { b.nodes[2].speed = {50, 1}; }) == replan_reason::speed));
  BOOST_TEST((after([](auto& b) { b.nodes[0].speed = {60, 12}; }) == replan_reason::speed));
  BOOST_TEST((after([](auto& b) { b.links[1].rtt_us = 20'000; }) == replan_reason::links));
  BOOST_TEST((after([](auto& b) { b.tokens = 8000; }) == replan_reason::routing));
  BOOST_TEST((after([](auto& b) { b.sessions = 5; }) == replan_reason::load));
  BOOST_TEST((after([](auto& b) {
                for (size_t i = 0; i < 20; ++i)
                  b.use[i] = 0.2;
              }) == replan_reason::routing));
}

BOOST_AUTO_TEST_CASE(the_first_routing_counts_and_a_handful_of_tokens_does_not) {
  auto then = example();
  then.tokens = 0;
  then.use.assign(40, 0.0);
  auto now = example();
  now.tokens = 100;
  BOOST_TEST((reason_to_replan(then, now) == replan_reason::none));
  now.tokens = 300;
  BOOST_TEST((reason_to_replan(then, now) == replan_reason::routing));
}

BOOST_AUTO_TEST_CASE(one_home_plans_and_all_agree_which) {
  auto nodes = example().nodes;
  BOOST_TEST(planner_of(nodes) == "a");
  nodes[0].home = false;
  BOOST_TEST(planner_of(nodes) == "b");
  nodes[1].home = false;
  BOOST_TEST(planner_of(nodes) == "");
}

BOOST_AUTO_TEST_CASE(a_little_better_is_not_worth_moving) {
  BOOST_TEST(!worth_moving(100, 97));
  BOOST_TEST(!worth_moving(100, 110));
  BOOST_TEST(worth_moving(100, 90));
}

BOOST_AUTO_TEST_CASE(stages_are_left_when_their_lead_is_gone) {
  BOOST_TEST(!worth_leaving_stages(85, 100)); // as they were taken
  BOOST_TEST(!worth_leaving_stages(94, 100));
  BOOST_TEST(worth_leaving_stages(97, 100));
  BOOST_TEST(worth_leaving_stages(120, 100));
}

BOOST_AUTO_TEST_SUITE_END()
