// Rows of an expert that nobody can run wait for somebody who can.
#include "gate_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

struct missing_world : gate_world {
  std::vector<float> wanted = expected();
  const std::string name_of_3 = to_string(expert_key{layer, expert_id{3}});

  /// Expert 3 is nowhere until `published` says where.
  layer_done waiting_for(route_view_ptr before, route_view_ptr published) {
    auto asked = gate_at(std::move(before), generous);
    fill();
    auto pending = self->request(asked, generous, work());
    self->send(asked, atom::publish::value, std::move(published));
    return outcome_of(pending);
  }
  void check_missing(const layer_done& done) {
    BOOST_REQUIRE(!done.outcome.ok());
    const auto& why = done.outcome.err();
    BOOST_TEST(to_string(why.code) == "expert_not_here");
    BOOST_TEST(holds(why.message, name_of_3), why.message);
    BOOST_TEST(holds(why.message, ": start "), why.message); // what to do
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(gate_missing, missing_world)

BOOST_AUTO_TEST_CASE(a_table_that_names_a_neighbour_ends_the_wait) {
  auto notes = std::make_shared<notebook>();
  links both{{there, link(constant(100))}, {elsewhere, link(honest(notes))}};
  auto done = waiting_for(view(table({{3, {}}}), both), view(table({{3, {elsewhere}}}), both));
  check_right(done, wanted);
  BOOST_TEST(notes->all().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_table_that_names_this_node_ends_the_wait) {
  auto done = waiting_for(view(table({{3, {}}}), {{there, link(constant(100))}}), view(table()));
  check_right(done, wanted);
}

BOOST_AUTO_TEST_CASE(a_node_alone_waits_for_its_first_neighbour) {
  auto done = waiting_for(view(table({{3, {}}, {5, {}}})),
                          view(table({{3, {there}}, {5, {there}}}), {{there, link(honest())}}));
  check_right(done, wanted);
  BOOST_TEST(done.remote.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_table_that_names_one_of_two_leaves_the_other_waiting) {
  links one{{there, link(honest())}};
  auto asked = gate_at(view(table({{3, {}}, {5, {}}}), one), generous);
  fill();
  auto pending = self->request(asked, generous, work());
  self->send(asked, atom::publish::value, view(table({{3, {there}}, {5, {}}}), one));
  self->send(asked, atom::publish::value, view(table({{3, {}}, {5, {there}}}), one));
  check_right(outcome_of(pending), wanted);
}

BOOST_AUTO_TEST_CASE(an_expert_of_a_node_without_a_link_is_missing) {
  check_missing(dispatch(gate_at(view(table({{3, {there}}})))));
  check_missing(dispatch(gate_at(view(table({{3, {there}}}), {{elsewhere, link(honest())}}))));
}

BOOST_AUTO_TEST_CASE(what_nobody_ever_holds_fails_with_its_name) {
  auto asked = gate_at(view(table({{3, {}}}), {{there, link(honest())}}), 300ms);
  auto done = dispatch(asked);
  check_missing(done);
  BOOST_TEST(holds(done.outcome.err().message, "--missing-patience-ms"), // what to change
             done.outcome.err().message);
  self->send(asked, atom::publish::value, view(table()));
  check_right(dispatch(asked), wanted); // the timer of the lost batch is nobody's
}

BOOST_AUTO_TEST_CASE(without_patience_it_fails_at_once) {
  for (const auto& where :
       {view(table({{3, {}}})), view(table({{3, {}}}), {{there, link(honest())}})}) {
    auto asked = gate_at(where);
    check_missing(dispatch(asked));
    check_missing(dispatch(asked));
    self->send(asked, atom::publish::value, view(table()));
    check_right(dispatch(asked), wanted);
  }
}

/// What is under way when the batch fails is answered later, to nobody.
BOOST_AUTO_TEST_CASE(a_failed_batch_leaves_nothing_behind) {
  auto where = view(table({{3, {}}, {5, {there}}}), {{there, link(constant(100))}});
  auto asked = gate_at(where);
  check_missing(dispatch(asked));
  self->send(asked, atom::publish::value, view(table()));
  check_right(dispatch(asked), wanted);
}

BOOST_AUTO_TEST_CASE(the_only_holder_may_recover) {
  auto where = view(table({{3, {there}}}),
                    {{there, link(failing({ec::io, "node b is gone"}, 1, honest()))}});
  auto done = dispatch(gate_at(where, generous));
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
}

BOOST_AUTO_TEST_CASE(all_holders_may_recover) {
  auto experts = spawn_experts(layer);
  experts[3] = make_flaky(experts[3], 2);
  auto where = view(table({{3, {here, there}}}),
                    {{there, link(failing({ec::io, "node b is gone"}, 2, honest()))}});
  prefer({here, there});
  auto done = dispatch(gate_with(experts, where, generous));
  check_right(done, wanted);
  BOOST_TEST(done.repeats >= 1u);
}

BOOST_AUTO_TEST_CASE(a_holder_that_never_recovers_is_the_reason) {
  auto where = view(table({{3, {there}}}), {{there, link(refusing({ec::io, "node b is gone"}))}});
  auto done = dispatch(gate_at(where, 300ms));
  BOOST_REQUIRE(!done.outcome.ok());
  BOOST_TEST(to_string(done.outcome.err().code) == "io");
  BOOST_TEST(done.outcome.err().message == "node b is gone");
}

BOOST_AUTO_TEST_SUITE_END()
