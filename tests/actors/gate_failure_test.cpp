// What fails at one host is asked of another, and counted once.
#include "gate_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

struct failure_world : gate_world {
  std::vector<float> wanted = expected();
  const error gone{ec::io, "node b is gone"};

  /// Expert 3 is asked of `first`, and is also at `replica`.
  layer_done with_replica(answering first, node_id replica) {
    auto where = view(table({{3, {there, replica}}}),
                      {{there, link(std::move(first))}, {elsewhere, link(honest())}});
    prefer({there, replica});
    return dispatch(gate_at(where));
  }
  void load(const std::vector<expert_actor>& experts) {
    for (const auto& e : experts)
      self->request(e, generous, atom::load::value)
          .receive([](uint64_t) {}, [](caf::error& why) { BOOST_FAIL(from_caf(why).message); });
  }
  /// Until every expert has answered the gate: it asks them behind the leases.
  void wait_for_leases(const gate_actor& asked) {
    self->request(asked, generous, atom::details::value)
        .receive([](const std::vector<expert_status>&) {},
                 [](caf::error& why) { BOOST_FAIL(from_caf(why).message); });
  }
  /// Why a gate fails whose expert 3 is `there` alone; it must live on: it is asked twice.
  error failure(answering answer) {
    auto asked = gate_at(view(table({{3, {there}}}), {{there, link(std::move(answer))}}));
    BOOST_TEST(!dispatch(asked).outcome.ok());
    auto done = dispatch(asked);
    BOOST_REQUIRE_MESSAGE(!done.outcome.ok(), "a sum that never came was not missed");
    return done.outcome.err();
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(gate_failure, failure_world)

BOOST_AUTO_TEST_CASE(a_neighbour_that_is_late_is_replaced_by_another) {
  auto done = with_replica(refusing({ec::deadline, "node b did not answer in time"}), elsewhere);
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
  BOOST_REQUIRE_EQUAL(done.remote.size(), 1u);
  BOOST_TEST(index(done.remote[0].node) == index(elsewhere));
}

BOOST_AUTO_TEST_CASE(a_neighbour_that_fails_is_replaced_by_this_node) {
  auto done = with_replica(refusing(gone), here);
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
  BOOST_TEST(done.remote.empty());
}

BOOST_AUTO_TEST_CASE(a_sum_of_another_size_is_asked_for_elsewhere) {
  auto done = with_replica(
      [](link_actor::pointer, const remote_dispatch& asked) -> caf::result<partial_sum> {
        return partial_sum{std::vector<float>(asked.activations.size() - 1, 1.f), 0, 0, 0};
      },
      elsewhere);
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
}

BOOST_AUTO_TEST_CASE(a_link_that_has_ended_is_replaced) {
  auto ended = link(honest());
  caf::anon_send_exit(ended, caf::exit_reason::user_shutdown);
  self->wait_for(ended);
  prefer({there, here});
  auto done = dispatch(gate_at(view(table({{3, {there, here}}}), {{there, ended}})));
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
}

BOOST_AUTO_TEST_CASE(two_hosts_may_fail_one_after_the_other) {
  constexpr node_id third{3};
  auto where = view(
      table({{3, {there, elsewhere, third}}}),
      {{there, link(refusing(gone))}, {elsewhere, link(refusing(gone))}, {third, link(honest())}});
  prefer({there, elsewhere, third});
  auto done = dispatch(gate_at(where));
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 2u);
}

BOOST_AUTO_TEST_CASE(only_the_lost_rows_are_sent_again) {
  auto notes = std::make_shared<notebook>();
  auto where = view(table({{3, {there, elsewhere}}, {14, {elsewhere}}}),
                    {{there, link(refusing(gone))}, {elsewhere, link(honest(notes))}});
  prefer({there, elsewhere});
  auto done = dispatch(gate_at(where));
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
  std::multiset<uint32_t> asked;
  for (const auto& d : notes->all())
    for (const auto& e : d.experts)
      asked.insert(index(e.expert));
  BOOST_TEST((asked == std::multiset<uint32_t>{3, 14}));
}

/// The device has the local experts when the neighbour's rows come back, find no lease here, and
/// go on to a third host.
BOOST_AUTO_TEST_CASE(rows_may_come_back_while_the_device_runs) {
  auto late = std::make_shared<doorway>(), third = std::make_shared<doorway>();
  auto fails =
      link([=, this](link_actor::pointer, const remote_dispatch&) -> caf::result<partial_sum> {
        late->pass();
        return to_caf(gone);
      });
  auto helps = link(
      [=, this](link_actor::pointer, const remote_dispatch& asked) -> caf::result<partial_sum> {
        third->pass();
        return computed(asked);
      });
  third->open();
  auto experts = spawn_experts(layer);
  load(experts);
  experts[3] = make_flaky(experts[3], 1);
  auto where = view(table({{3, {here, there, elsewhere}}}), {{there, fails}, {elsewhere, helps}});
  auto asked = gate_with(experts, where, generous);
  prefer({there, here, elsewhere});
  fill();
  busy_device held(*device);
  auto pending = self->request(asked, generous, work());
  late->wait_until_reached();
  wait_for_leases(asked);
  late->open();
  third->wait_until_reached();
  held.end();
  auto done = outcome_of(pending);
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
}

BOOST_AUTO_TEST_CASE(a_lease_that_fails_goes_to_a_neighbour) {
  auto experts = spawn_experts(layer);
  experts[3] = make_flaky(experts[3], 1'000'000);
  auto where = view(table({{3, {here, there}}}), {{there, link(honest())}});
  prefer({here, there});
  auto done = dispatch(gate_with(experts, where, generous));
  check_right(done, wanted);
  BOOST_REQUIRE_EQUAL(done.remote.size(), 1u);
  BOOST_TEST(index(done.remote[0].node) == index(there));
}

BOOST_AUTO_TEST_CASE(a_lease_that_fails_goes_to_a_neighbour_without_any_patience) {
  auto experts = spawn_experts(layer);
  experts[3] = make_flaky(experts[3], 1'000'000);
  auto where = view(table({{3, {here, there}}}), {{there, link(honest())}});
  prefer({here, there});
  check_right(dispatch(gate_with(experts, where)), wanted);
}

BOOST_AUTO_TEST_CASE(a_neighbour_with_damaged_weights_is_replaced_by_another) {
  auto done = with_replica(refusing({ec::bad_file, "node b: its copy may be damaged"}), elsewhere);
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 1u);
}

/// Asking it again would only take time.
BOOST_AUTO_TEST_CASE(damaged_weights_at_the_only_holder_fail_without_a_wait) {
  auto asked_often = std::make_shared<std::atomic<int>>(0);
  auto damaged = link([=](link_actor::pointer, const remote_dispatch&) -> caf::result<partial_sum> {
    ++*asked_often;
    return to_caf({ec::bad_file, "node b: its copy may be damaged"});
  });
  auto done = dispatch(gate_at(view(table({{3, {there}}}), {{there, damaged}}), generous));
  BOOST_REQUIRE(!done.outcome.ok());
  BOOST_TEST(to_string(done.outcome.err().code) == "bad_file");
  BOOST_TEST(done.outcome.err().message == "node b: its copy may be damaged");
  BOOST_TEST(*asked_often == 1);
}

/// One of two neighbours fails for good while the other has not answered: what it says later is
/// nobody's, also when the next batch runs.
BOOST_AUTO_TEST_CASE(a_batch_that_has_failed_waits_for_nobody) {
  auto slow = std::make_shared<doorway>();
  auto late = link([=, this, first = std::make_shared<std::atomic<bool>>(true)](
                       link_actor::pointer, const remote_dispatch& d) -> caf::result<partial_sum> {
    if (!first->exchange(false))
      return computed(d);
    slow->pass();
    return partial_sum{std::vector<float>(d.activations.size(), 1e6f), 0, 0, 0};
  });
  auto where = view(table({{3, {there}}, {5, {elsewhere}}}),
                    {{there, link(failing({ec::device_lost, "node b lost its GPU"}, 1, honest()))},
                     {elsewhere, late}});
  auto asked = gate_at(where);
  auto done = dispatch(asked); // while the other is still being waited for
  BOOST_REQUIRE(!done.outcome.ok());
  BOOST_TEST(done.outcome.err().message == "node b lost its GPU");
  slow->wait_until_reached();
  fill();
  auto pending = self->request(asked, generous, work());
  slow->open();
  check_right(outcome_of(pending), wanted);
}

/// Likewise for what comes of the leases.
BOOST_AUTO_TEST_CASE(a_batch_that_has_failed_waits_for_no_lease) {
  auto slow = std::make_shared<doorway>();
  auto experts = spawn_experts(layer);
  load(experts);
  auto real = experts[5];
  auto first = std::make_shared<std::atomic<bool>>(true);
  experts[5] = keep(
      system.spawn<caf::detached>([=](expert_actor::pointer me) -> expert_actor::behavior_type {
        return {[](atom::status) { return component_status{}; },
                [=](atom::acquire, uint32_t n) -> caf::result<lease> {
                  if (first->exchange(false))
                    slow->pass();
                  return me->delegate(real, atom::acquire::value, n);
                },
                [](atom::load) -> caf::result<uint64_t> { return uint64_t{0}; },
                [](atom::load, bool) -> caf::result<uint64_t> { return uint64_t{0}; },
                [](atom::evict) -> caf::result<uint64_t> { return uint64_t{0}; },
                [](atom::details) { return expert_status{}; }};
      }));
  auto where =
      view(table({{3, {there}}}),
           {{there, link(failing({ec::device_lost, "node b lost its GPU"}, 1, honest()))}});
  auto asked = gate_with(experts, where);
  BOOST_REQUIRE(!dispatch(asked).outcome.ok());
  slow->wait_until_reached();
  fill();
  auto pending = self->request(asked, generous, work());
  slow->open();
  check_right(outcome_of(pending), wanted);
}

BOOST_AUTO_TEST_CASE(a_lease_that_fails_on_a_node_alone_is_the_reason) {
  auto experts = spawn_experts(layer);
  experts[3] = make_flaky(experts[3], 1);
  auto asked = gate_with(experts, view(table()));
  auto done = dispatch(asked);
  BOOST_REQUIRE(!done.outcome.ok());
  BOOST_TEST(to_string(done.outcome.err().code) == "out_of_memory");
  BOOST_TEST(done.outcome.err().message == "no room for this expert");
  check_right(dispatch(asked), wanted);
}

BOOST_AUTO_TEST_CASE(the_error_of_the_only_holder_is_the_reason) {
  auto why = failure(refusing({ec::out_of_memory, "node b has no room for 5 rows"}));
  BOOST_TEST(to_string(why.code) == "out_of_memory");
  BOOST_TEST(why.message == "node b has no room for 5 rows");
}

BOOST_AUTO_TEST_CASE(a_sum_of_another_size_from_the_only_holder_is_the_reason) {
  auto why = failure([](link_actor::pointer, const remote_dispatch& d) -> caf::result<partial_sum> {
    return partial_sum{std::vector<float>(d.activations.size() - 1, 1.f), 0, 0, 0};
  });
  BOOST_TEST(to_string(why.code) == "bad_frame");
}

BOOST_AUTO_TEST_CASE(a_host_without_a_replica_gets_all_the_time_there_is) {
  auto patience_of = [&](std::vector<node_id> holders) {
    auto notes = std::make_shared<notebook>();
    prefer({there, here});
    auto where = view(table({{3, holders}}), {{there, link(honest(notes))}});
    check_right(dispatch(gate_at(where)), wanted);
    BOOST_REQUIRE_EQUAL(notes->all().size(), 1u);
    return notes->all().front().patience;
  };
  auto alone = patience_of({there});
  BOOST_TEST((patience_of({there, here}) < alone));
  BOOST_TEST((patience_of({there, elsewhere}) == alone)); // no link leads elsewhere
}

BOOST_AUTO_TEST_CASE(the_last_replica_gets_all_the_time_there_is) {
  auto notes = std::make_shared<notebook>();
  auto where = view(table({{3, {there, elsewhere}}}),
                    {{there, link(refusing(gone))}, {elsewhere, link(honest(notes))}});
  prefer({there, elsewhere});
  check_right(dispatch(gate_at(where)), wanted);
  BOOST_REQUIRE_EQUAL(notes->all().size(), 1u);
  BOOST_TEST((notes->all().front().patience >= 10s));
}

BOOST_AUTO_TEST_SUITE_END()
