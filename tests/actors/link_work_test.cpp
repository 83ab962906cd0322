// Work over a link: dispatches, their sums, parts of files.
#include "link_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

struct work_world : link_world {
  remote_dispatch ask = question({0, 3, 5});
  std::vector<float> wanted = computed(ask).values;

  /// Of a sum that came over the wire as `wire`: its error against the norm.
  double error_over(net::wire_type wire, uint64_t& bytes) {
    meet(wire);
    host(b, make_helper());
    auto sum = sum_of(a.link, ask);
    bytes = sum.wire_bytes;
    BOOST_REQUIRE_EQUAL(sum.values.size(), wanted.size());
    double off = 0, all = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      off += std::pow(double{sum.values[i]} - double{wanted[i]}, 2);
      all += std::pow(double{wanted[i]}, 2);
    }
    return std::sqrt(off / all);
  }
  uint64_t values() const { return 2 * uint64_t{ask.rows} * ask.hidden; } // both ways
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(link_work, work_world)

BOOST_AUTO_TEST_CASE(a_sum_over_f32_is_exact) {
  uint64_t bytes = 0;
  BOOST_TEST(error_over(net::wire_type::f32, bytes) == 0.0);
  BOOST_TEST(bytes > 4 * values());
  auto status = status_of(a);
  BOOST_TEST(status.counts.dispatches == 1u);
  BOOST_TEST(status.waiting == 0u);
}

BOOST_AUTO_TEST_CASE(a_sum_over_f16_is_within_its_error) {
  uint64_t bytes = 0;
  auto off = error_over(net::wire_type::f16, bytes);
  BOOST_TEST(off > 0.0);
  BOOST_TEST(off < 2e-3);
  BOOST_TEST(bytes < 3 * values());
}

BOOST_AUTO_TEST_CASE(a_sum_over_int8_is_within_its_error) {
  uint64_t bytes = 0;
  auto off = error_over(net::wire_type::int8, bytes);
  BOOST_TEST(off > 0.0);
  BOOST_TEST(off < 3e-2);
  BOOST_TEST(bytes < 2 * values());
}

BOOST_AUTO_TEST_CASE(a_gate_over_links_answers_as_one_node_alone) {
  auto alone = expected();
  meet();
  host(b, make_helper());
  auto where = view(table({{3, {there}}, {14, {there}}, {model->config().experts, {there}}}),
                    {{there, a.link}});
  auto done = dispatch(gate_at(where));
  check_right(done, alone);
  BOOST_TEST(done.wire_bytes > 0u);
  BOOST_TEST(done.remote.size() == 1u);
}

BOOST_AUTO_TEST_CASE(both_ends_may_ask_at_once) {
  meet();
  host(a, make_helper());
  host(b, make_helper());
  auto one = self->request(a.link, generous, ask), other = self->request(b.link, generous, ask);
  for (auto* pending : {&one, &other})
    pending->receive([&](const partial_sum& s) { BOOST_TEST((s.values == wanted)); },
                     [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
}

BOOST_AUTO_TEST_CASE(a_node_without_the_model_says_so) {
  meet();
  auto why = failure_of(a, ask);
  BOOST_TEST(to_string(why.code) == "unknown_model");
  BOOST_TEST(holds(why.message, "node b"), why.message);
  BOOST_TEST(status_of(a).counts.failed == 1u);
}

BOOST_AUTO_TEST_CASE(what_the_helper_refuses_comes_back) {
  meet();
  host(b, make_helper({{3, 1}}));
  auto why = failure_of(a, ask);
  BOOST_TEST(to_string(why.code) == "out_of_memory");
  BOOST_TEST(holds(why.message, "no room for this expert"), why.message);
  BOOST_TEST((sum_of(a.link, ask).values == wanted));
}

BOOST_AUTO_TEST_CASE(an_answer_that_is_late_is_given_up) {
  meet();
  auto reached = std::make_shared<doorway>();
  host(b, keep(system.spawn(silent_helper, reached)));
  ask.patience = 100ms;
  auto why = failure_of(a, ask);
  BOOST_TEST(to_string(why.code) == "deadline");
  reached->wait_until_reached();
  auto status = status_of(a);
  BOOST_TEST(status.counts.late == 1u);
  BOOST_TEST(status.waiting == 0u);
  BOOST_TEST(status.state == "up"); // slow is not dead
}

BOOST_AUTO_TEST_CASE(parts_of_files_come_from_the_library) {
  meet();
  file_block got;
  self->request(a.link, generous, file_want{model->hash, 2, 7, 1000})
      .receive([&](const file_block& f) { got = f; },
               [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
  BOOST_TEST(got.total == 12345u);
  BOOST_REQUIRE_EQUAL(got.bytes.size(), 1000u);
  BOOST_TEST((got.bytes[3] == std::byte{10}));
  auto why = failure_of(a, file_want{model->hash, 9, 0, 1000});
  BOOST_TEST(to_string(why.code) == "bad_argument");
  BOOST_TEST(holds(why.message, "there is no such file"), why.message);
}

BOOST_AUTO_TEST_SUITE_END()
