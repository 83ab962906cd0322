#include "policy/card_budget.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::policy;

namespace {

/// 10 layers of 20 experts of 100 bytes; KV of a context takes 500, steps 300.
card_needs some_needs() {
  card_needs n;
  n.of.dense_bytes = 1000;
  n.of.shared_bytes = 200;
  n.of.expert_bytes = 100;
  n.of.routed_bytes = 20'000;
  n.of.layers = 10;
  n.of.experts = 20;
  n.of.kv_page_bytes = 10;
  n.of.kv_pages_least = 5;
  n.of.kv_pages_wanted = 400;
  n.kv_pages_context = 50;
  n.step_bytes = 300;
  n.least_step_bytes = 30;
  return n;
}

uint64_t sum(const card_plan& p) {
  return p.pinned_bytes + p.kv_bytes + p.step_bytes + p.copies_bytes + p.expert_bytes;
}

} // namespace

BOOST_AUTO_TEST_SUITE(card_budget)

BOOST_AUTO_TEST_CASE(a_refusal_names_a_budget_that_will_do) {
  auto n = some_needs();
  n.of.dense_bytes <<= 20, n.of.shared_bytes <<= 20, n.step_bytes <<= 20, n.of.kv_page_bytes <<= 20;
  auto least = uint64_t{1000 + 200 + 500 + 300} << 20;
  auto refused = plan_card(n, least - 1);
  BOOST_REQUIRE(!refused.ok());
  BOOST_TEST((refused.err().code == ec::out_of_memory));
  BOOST_TEST(refused.err().message.find("give --gpu at least 2000 MiB") != std::string::npos,
             refused.err().message);
  BOOST_TEST(plan_card(n, least).ok());
  BOOST_TEST(plan_card(n, least)->experts == 0u);
}

BOOST_AUTO_TEST_CASE(a_plan_keeps_to_its_budget_and_more_of_it_holds_more) {
  auto n = some_needs();
  uint64_t before = 0;
  for (uint64_t budget = 2000; budget < 40'000; budget += 137) {
    auto p = plan_card(n, budget);
    BOOST_REQUIRE(p.ok());
    BOOST_TEST(sum(*p) <= budget);
    BOOST_TEST(p->experts * 100 <= p->expert_bytes);
    BOOST_TEST(p->experts >= before);
    BOOST_TEST(p->kv_pages >= 50u);
    BOOST_TEST((p->kv_pages == 50 || p->kv_bytes <= budget / 4));
    before = p->experts;
  }
  BOOST_TEST(before == 200u);
}

BOOST_AUTO_TEST_CASE(where_all_fits_nothing_is_kept_for_copies) {
  auto n = some_needs();
  auto all = plan_card(n, 40'000);
  BOOST_TEST(all->copies_bytes == 0u);
  BOOST_TEST(all->expert_bytes == n.of.routed_bytes);
  auto some = plan_card(n, 12'000);
  BOOST_TEST(some->copies_bytes > 0u);
  BOOST_TEST(some->copies_bytes <= n.of.routed_bytes / n.of.layers);
}

BOOST_AUTO_TEST_CASE(kv_that_was_asked_for_is_taken_as_it_is) {
  auto n = some_needs();
  n.of.kv_pages_wanted = 700;
  BOOST_TEST(!plan_card(n, 8000, true).ok());
  BOOST_TEST(plan_card(n, 9000, true)->kv_pages == 700u);
  BOOST_TEST(plan_card(n, 9000)->kv_pages < 700u);
}

BOOST_AUTO_TEST_CASE(the_least_is_less_than_what_a_whole_context_takes) {
  auto n = some_needs();
  BOOST_TEST(least_on_card(n) == 1000u + 200 + 50 + 30);
  BOOST_TEST(!plan_card(n, least_on_card(n)).ok());
  BOOST_TEST(card_kv_pages(0, 10, 400, 50) == 50u);
  BOOST_TEST(card_kv_pages(8000, 10, 400, 50) == 200u);
  BOOST_TEST(card_kv_pages(80'000, 10, 400, 50) == 400u);
  BOOST_TEST(card_kv_pages(0, 10, 20, 50) == 20u);
}

BOOST_AUTO_TEST_SUITE_END()
