// What is asked of the next node, and which node that is: the parts of failover without sockets.
#include "net/app_answer.hpp"
#include "net/app_ring.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace coel;
using namespace coel::net;
using namespace std::chrono_literals;

namespace {

const app_answer::time start{100s};

generate_request request() {
  generate_request out;
  out.prompt = "x";
  out.max_tokens = 10;
  return out;
}

token_reply token(int32_t id) {
  return {id, "t", 0, {}};
}

} // namespace

BOOST_AUTO_TEST_SUITE(app_answer_state)

BOOST_AUTO_TEST_CASE(the_rest_follows_what_was_answered) {
  auto whole = request();
  whole.answered = {7};
  whole.sampling.seed = 5;
  app_answer answer(whole, start);
  BOOST_TEST(answer.rest(start).answered == whole.answered);
  BOOST_TEST(answer.add(token(8), start));
  BOOST_TEST(answer.add(token(9), start));
  auto rest = answer.rest(start);
  BOOST_TEST(rest.answered == (std::vector<int32_t>{7, 8, 9}));
  BOOST_TEST(rest.max_tokens == 8u);
  BOOST_TEST(rest.sampling.seed == 5u);
  BOOST_TEST(rest.prompt == "x");
}

BOOST_AUTO_TEST_CASE(more_tokens_than_were_asked_for_leave_none) {
  app_answer answer(request(), start);
  for (int32_t i = 0; i < 12; ++i)
    answer.add(token(i), start);
  BOOST_TEST(answer.rest(start).max_tokens == 0u);
}

BOOST_AUTO_TEST_CASE(a_seed_is_chosen_once) {
  app_answer answer(request(), start);
  auto seed = answer.rest(start).sampling.seed;
  BOOST_TEST(seed != 0u);
  BOOST_TEST(answer.rest(start).sampling.seed == seed);
  std::vector<uint64_t> others;
  for (int i = 0; i < 8; ++i)
    others.push_back(app_answer(request(), start).rest(start).sampling.seed);
  BOOST_TEST(std::count(others.begin(), others.end(), seed) < 8);
}

BOOST_AUTO_TEST_CASE(the_deadline_goes_on_running) {
  auto timed = request();
  timed.deadline_ms = 1000;
  app_answer answer(timed, start);
  BOOST_TEST(answer.rest(start + 300ms).deadline_ms == 700u);
  BOOST_TEST(answer.rest(start + 5s).deadline_ms == 1u); // 0 would be the node's default
  app_answer untimed(request(), start);
  BOOST_TEST(untimed.rest(start + 5s).deadline_ms == 0u);
}

BOOST_AUTO_TEST_CASE(text_held_back_to_the_end_is_shown_with_the_end_only) {
  app_answer answer(request(), start);
  answer.rest(start);
  answer.add(token(4), start);
  BOOST_TEST(!answer.add(token(-1), start));
  auto again = answer.rest(start); // the end did not come: another node will hold it back too
  BOOST_TEST(again.answered == std::vector<int32_t>{4});
  BOOST_TEST(!answer.take_held().has_value());
  answer.add(token(-1), start);
  BOOST_TEST(answer.take_held().has_value());
  BOOST_TEST(!answer.take_held().has_value());
}

BOOST_AUTO_TEST_CASE(times_of_several_nodes_are_those_seen_from_here) {
  app_answer answer(request(), start);
  done_reply last;
  last.times = {1, 2, 3};
  answer.rest(start);
  answer.add(token(4), start + 2s);
  BOOST_TEST(answer.ended(last, start + 5s).times.decode_us == 3u);
  answer.rest(start + 3s);
  auto moved = answer.ended(last, start + 5s).times;
  BOOST_TEST(moved.prefill_us == 2'000'000u);
  BOOST_TEST(moved.decode_us == 3'000'000u);
  auto cancelled = answer.cancelled(start + 5s);
  BOOST_TEST((cancelled.reason == finish_reason::cancelled));
  BOOST_TEST(cancelled.answer_tokens == 1u);
}

BOOST_AUTO_TEST_CASE(nodes_take_turns_and_each_has_its_tries) {
  app_ring ring({"a", "b", "c"}, 2);
  std::vector<size_t> order;
  bool left = true;
  for (int i = 0; left; ++i) {
    BOOST_REQUIRE(i < 6);
    BOOST_TEST(ring.failed_before() == (i >= 3));
    order.push_back(ring.at());
    left = ring.failed({ec::io, "why " + std::to_string(i)});
  }
  BOOST_TEST(order == (std::vector<size_t>{0, 1, 2, 0, 1, 2}));
  auto told = ring.summary();
  BOOST_TEST((told.code == ec::io));
  for (const char* part : {"a (", "b (", "c (", "why 0", "why 5"})
    BOOST_TEST(told.message.find(part) != std::string::npos, told.message);
}

BOOST_AUTO_TEST_CASE(a_gain_forgets_failures_and_keeps_the_node) {
  app_ring ring({"a", "b"}, 2);
  BOOST_TEST(ring.failed({ec::io, "x"}));
  ring.gained();
  BOOST_TEST(ring.at() == 1u);
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(ring.failed({ec::io, "y"}));
  BOOST_TEST(!ring.failed({ec::io, "y"}));
  BOOST_TEST(ring.summary().message.find("x") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(one_reason_is_told_as_it_is_and_several_codes_become_io) {
  app_ring alone({"a"}, 2);
  BOOST_TEST(alone.failed({ec::busy, "full"}));
  BOOST_TEST(!alone.failed({ec::busy, "full"}));
  BOOST_TEST(alone.summary().message == "full");
  BOOST_TEST((alone.summary().code == ec::busy));
  app_ring two({"a", "b"}, 1);
  two.failed({ec::busy, "full"});
  two.failed({ec::shutting_down, "ends"});
  BOOST_TEST((two.summary().code == ec::io));
  BOOST_TEST(two.summary().message.find("b (shutting_down: ends)") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
