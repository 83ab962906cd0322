// Wrong sums and greedy neighbours: what is refused costs its asker one dispatch, not the link.
#include "link_world.hpp"

#include <limits>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

/// Answers with a sum that has `bad` in its last row, as often as `times`, then rightly.
helper_actor::behavior_type spoiled_helper(helper_actor::pointer self, helper_actor right,
                                           float bad, std::shared_ptr<int> times) {
  return {[](atom::status) { return component_status{}; },
          [=](const remote_dispatch& ask) -> caf::result<partial_sum> {
            if ((*times)-- <= 0)
              return self->delegate(right, ask);
            std::vector<float> values(size_t{ask.rows} * ask.hidden, 1.0f);
            values.back() = bad;
            return partial_sum{std::move(values), 1, 1, 0};
          },
          [=](const remote_output& ask) -> caf::result<partial_sum> {
            return self->delegate(right, ask);
          },
          [](atom::step, uint64_t, const compute::completion_info&) {}};
}

/// Answers nothing, ever.
library_actor::behavior_type silent_library(library_actor::pointer self) {
  auto kept = std::make_shared<std::vector<caf::typed_response_promise<file_block>>>();
  return {[](atom::status) { return component_status{}; },
          [=](const file_want&) -> caf::result<file_block> {
            kept->push_back(self->make_response_promise<file_block>());
            return kept->back();
          }};
}

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

} // namespace

BOOST_FIXTURE_TEST_SUITE(link_closed, link_world)

BOOST_AUTO_TEST_CASE(a_sum_that_is_not_finite_fails_its_dispatch_only) {
  for (auto wire : {net::wire_type::f32, net::wire_type::f16, net::wire_type::int8})
    for (float bad : {inf, -inf, not_a_number}) {
      link_world world;
      world.meet(wire);
      auto ask = world.question({0, 3, 5});
      auto times = std::make_shared<int>(2);
      world.host(world.b,
                 world.keep(world.system.spawn(spoiled_helper, world.make_helper(), bad, times)));
      for (int i = 0; i < 2; ++i) {
        auto why = world.failure_of(world.a, ask);
        BOOST_TEST(holds(why.message, "not a finite number"), why.message);
        BOOST_TEST(holds(why.message, "node b"), why.message);
      }
      BOOST_TEST(world.sum_of(world.a.link, ask).values.size() == size_t{ask.rows} * ask.hidden);
      auto status = world.status_of(world.a);
      BOOST_TEST(status.state == "up");
      BOOST_TEST(status.counts.times_down == 0u);
      BOOST_TEST(status.counts.failed == 2u);
    }
}

BOOST_AUTO_TEST_CASE(rows_that_are_not_finite_fail_their_dispatch_only) {
  meet();
  host(b, make_helper());
  auto ask = question({0, 3, 5});
  auto spoiled = ask;
  spoiled.activations.back() = not_a_number;
  auto why = failure_of(a, spoiled);
  BOOST_TEST(holds(why.message, "not a finite number"), why.message);
  spoiled = ask;
  spoiled.experts.front().weights.front() = inf;
  why = failure_of(a, spoiled);
  BOOST_TEST(holds(why.message, "not a finite number"), why.message);
  BOOST_TEST((sum_of(a.link, ask).values == computed(ask).values));
  BOOST_TEST(status_of(a).counts.times_down == 0u);
  BOOST_TEST(status_of(b).counts.bad_frames == 2u);
  BOOST_TEST(status_of(b).state == "up");
}

BOOST_AUTO_TEST_CASE(an_expert_named_twice_ends_the_link) {
  meet();
  host(b, make_helper());
  auto ask = question({0, 3, 5});
  auto twice = ask;
  twice.experts.push_back(twice.experts.front());
  failure_of(a, twice);
  BOOST_TEST(status_of(b).counts.bad_frames == 1u);
  b.board->wait_for(link_event::kind::down);
  b.board->wait_for(link_event::kind::up, 2); // and is made anew
}

BOOST_AUTO_TEST_CASE(nonces_do_not_follow_from_what_neighbours_know) {
  link_world other;
  for (auto* world : {static_cast<link_world*>(this), &other})
    world->meet(); // with the same boot and serial
  auto nonce = [](const link_world& of) {
    return of.a.board->wait_for(link_event::kind::greeting).nonce;
  };
  BOOST_TEST(nonce(*this) != nonce(other));
}

BOOST_AUTO_TEST_CASE(who_asks_for_more_of_files_than_a_link_may_is_told) {
  library = keep(system.spawn(silent_library));
  meet();
  auto ask = [&] { return self->request(a.link, generous, file_want{model->hash, 2, 7, 1000}); };
  std::vector<decltype(ask())> waiting;
  for (size_t i = 0; i < link_config{}.max_served; ++i)
    waiting.push_back(ask());
  auto why = failure_of(a, file_want{model->hash, 2, 7, 1000});
  BOOST_TEST(to_string(why.code) == "busy");
  BOOST_TEST(holds(why.message, "as many parts of files"), why.message);
}

BOOST_AUTO_TEST_SUITE_END()
