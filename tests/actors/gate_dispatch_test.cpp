// The gate sends rows to where the routing table says their experts are.
#include "actors/gate_rows.hpp"
#include "gate_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

size_t experts_asked(const notebook_ptr& notes) {
  size_t all = 0;
  for (const auto& asked : notes->all())
    all += asked.experts.size();
  return all;
}

std::vector<node_id> hosts_of(const layer_done& done) {
  std::vector<node_id> all;
  for (const auto& hop : done.remote)
    all.push_back(hop.node);
  std::sort(all.begin(), all.end());
  return all;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(gate_dispatch, gate_world)

BOOST_AUTO_TEST_CASE(the_answer_does_not_depend_on_where_experts_are) {
  auto wanted = expected();
  links both{{there, link(honest())}, {elsewhere, link(honest())}};
  auto slice = model->config().experts;
  auto split = dispatch(gate_at(
      view(table({{3, {there}}, {5, {there}}, {10, {elsewhere}}, {slice, {there}}}), both)));
  check_right(split, wanted);
  BOOST_TEST((hosts_of(split) == std::vector{there, elsewhere}));
  BOOST_TEST(split.local_experts > 0u);
  auto remote = dispatch(gate_at(view(all_at({there}), both)));
  check_right(remote, wanted);
  BOOST_TEST(remote.local_experts == 0u);
  BOOST_TEST((hosts_of(remote) == std::vector{there}));
}

BOOST_AUTO_TEST_CASE(replicas_are_used_by_predicted_time) {
  auto wanted = expected();
  auto near = std::make_shared<notebook>(), far = std::make_shared<notebook>();
  auto where = view(all_at({here, there, elsewhere}),
                    {{there, link(honest(near))}, {elsewhere, link(honest(far))}});
  auto asked = gate_at(where);
  prefer({here, there, elsewhere});
  check_right(dispatch(asked), wanted);
  BOOST_TEST(experts_asked(near) + experts_asked(far) == 0u);
  prefer({elsewhere, here, there});
  check_right(dispatch(asked), wanted);
  BOOST_TEST(experts_asked(near) == 0u);
  BOOST_TEST(experts_asked(far) > 0u);
}

BOOST_AUTO_TEST_CASE(equal_hosts_share_the_work) {
  auto wanted = expected();
  for (auto host : {here, there, elsewhere}) {
    model->costs->forget(host);
    model->costs->announced(host, {10'000, 10});
  }
  auto near = std::make_shared<notebook>(), far = std::make_shared<notebook>();
  auto where = view(all_at({here, there, elsewhere}),
                    {{there, link(honest(near))}, {elsewhere, link(honest(far))}});
  auto done = dispatch(gate_at(where));
  check_right(done, wanted);
  BOOST_TEST(near->all().size() == 1u);
  BOOST_TEST(far->all().size() == 1u);
  BOOST_TEST(done.local_experts > 0u);
  BOOST_TEST(done.alone_us > 0u);
}

BOOST_AUTO_TEST_CASE(a_node_gets_one_message_with_the_rows_of_its_experts) {
  auto notes = std::make_shared<notebook>();
  auto slice = model->config().experts;
  auto where = view(table({{3, {there}}, {5, {there}}, {slice, {there}}}),
                    {{there, link(constant(0, notes))}});
  BOOST_REQUIRE(dispatch(gate_at(where)).outcome.ok());
  BOOST_REQUIRE_EQUAL(notes->all().size(), 1u);
  auto asked = notes->all().front();
  BOOST_TEST(index(asked.layer) == index(layer));
  BOOST_TEST((asked.model == model->hash));
  BOOST_TEST(asked.rows == rows);
  BOOST_TEST(asked.hidden == hidden());
  BOOST_TEST((asked.activations == read(buffers().normed)));
  BOOST_REQUIRE_EQUAL(asked.experts.size(), 3u); // row r chose r * 3, + 5, + 10, + 15, modulo 16
  BOOST_TEST(index(asked.experts[0].expert) == 3u);
  BOOST_TEST((asked.experts[0].rows == std::vector<uint32_t>{1, 3}));
  std::vector<float> weights{static_cast<float>(0.1 + 0.01 * 4),
                             static_cast<float>(0.1 + 0.01 * 14)};
  BOOST_TEST(asked.experts[0].weights == weights, boost::test_tools::per_element());
  BOOST_TEST(index(asked.experts[1].expert) == 5u);
  BOOST_TEST((asked.experts[1].rows == std::vector<uint32_t>{0, 2}));
  BOOST_TEST(index(asked.experts[2].expert) == slice); // every row, by its gate
  BOOST_TEST((asked.experts[2].rows == std::vector<uint32_t>{0, 1, 2, 3, 4}));
  BOOST_TEST(asked.experts[2].weights.size() == rows);
  BOOST_TEST(asked.experts[2].weights.back() == 0.6f);
}

BOOST_AUTO_TEST_CASE(a_node_gets_only_the_rows_that_its_experts_need) {
  auto wanted = expected();
  auto notes = std::make_shared<notebook>();
  auto where = view(table({{8, {there}}, {14, {there}}}), {{there, link(honest(notes))}});
  check_right(dispatch(gate_at(where)), wanted);
  BOOST_REQUIRE_EQUAL(notes->all().size(), 1u);
  auto asked = notes->all().front(); // rows 1 and 3 chose 8, row 3 chose 14
  BOOST_TEST(asked.rows == 2u);
  BOOST_TEST((asked.experts[0].rows == std::vector<uint32_t>{0, 1}));
  BOOST_TEST((asked.experts[1].rows == std::vector<uint32_t>{1}));
  auto normed = read(buffers().normed);
  auto at = [&](uint32_t row) {
    return normed.begin() + static_cast<std::ptrdiff_t>(row * hidden());
  };
  std::vector<float> packed(at(1), at(2));
  packed.insert(packed.end(), at(3), at(4));
  BOOST_TEST((asked.activations == packed));
}

BOOST_AUTO_TEST_CASE(sums_of_all_nodes_are_added_once) {
  auto gate_of = [this](float first, float second) {
    auto slice = model->config().experts;
    return gate_at(view(table({{slice, {there}}, {slice + 1, {elsewhere}}}),
                        {{there, link(constant(first))}, {elsewhere, link(constant(second))}}));
  };
  BOOST_REQUIRE(dispatch(gate_of(0, 0)).outcome.ok());
  auto without = residual();
  auto asked = gate_of(2, 0.5f);
  for (int again = 0; again < 2; ++again) {
    BOOST_REQUIRE(dispatch(asked).outcome.ok());
    auto with = residual();
    for (size_t i = 0; i < with.size(); ++i)
      BOOST_REQUIRE_EQUAL(with[i], without[i] + 2.5f);
  }
}

BOOST_AUTO_TEST_CASE(sums_are_added_to_the_rows_that_were_sent) {
  auto gate_of = [this](float value) {
    return gate_at(view(table({{14, {there}}}), {{there, link(constant(value))}}));
  };
  BOOST_REQUIRE(dispatch(gate_of(0)).outcome.ok());
  auto without = residual();
  BOOST_REQUIRE(dispatch(gate_of(2)).outcome.ok());
  auto with = residual();
  for (size_t i = 0; i < with.size(); ++i) // row 3 alone chose 14
    BOOST_REQUIRE_EQUAL(with[i], without[i] + (i / hidden() == 3 ? 2.f : 0.f));
}

BOOST_AUTO_TEST_CASE(a_second_batch_waits_for_the_first) {
  auto wanted = expected();
  auto door = std::make_shared<doorway>();
  auto notes = std::make_shared<notebook>();
  auto slow = link(
      [=, this](link_actor::pointer, const remote_dispatch& asked) -> caf::result<partial_sum> {
        notes->add(asked);
        door->pass();
        return computed(asked);
      });
  auto asked = gate_at(view(table({{3, {there}}}), {{there, slow}}));
  fill();
  auto first = self->request(asked, generous, work());
  door->wait_until_reached();
  auto memory_of_first = std::exchange(memory, make_memory());
  fill();
  auto second = self->request(asked, generous, work());
  auto status = self->request(asked, generous, atom::status::value); // behind it
  status.receive([](component_status&) {}, [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
  BOOST_TEST(notes->all().size() == 1u);
  door->open();
  auto memory_of_second = std::exchange(memory, memory_of_first);
  check_right(outcome_of(first), wanted);
  memory = memory_of_second;
  check_right(outcome_of(second), wanted);
  BOOST_TEST(notes->all().size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_new_table_does_not_disturb_what_is_under_way) {
  auto wanted = expected();
  auto door = std::make_shared<doorway>();
  auto notes = std::make_shared<notebook>();
  auto slow = link(
      [=, this](link_actor::pointer, const remote_dispatch& asked) -> caf::result<partial_sum> {
        notes->add(asked);
        door->pass();
        return computed(asked);
      });
  auto asked = gate_at(view(table({{3, {there}}}), {{there, slow}}));
  fill();
  auto pending = self->request(asked, generous, work());
  door->wait_until_reached();
  self->send(asked, atom::publish::value, view(table()));
  door->open();
  auto done = outcome_of(pending);
  check_right(done, wanted);
  BOOST_TEST(done.repeats == 0u);
  check_right(dispatch(asked), wanted); // the next one keeps to the new table
  BOOST_TEST(notes->all().size() == 1u);
}

BOOST_AUTO_TEST_CASE(where_one_node_is_planned_alone_nobody_else_is_asked) {
  auto wanted = expected();
  auto notes = std::make_shared<notebook>();
  prefer({there, here});
  auto alone = [&](policy::routing_table t) {
    auto v = std::make_shared<route_view>(
        route_view{std::move(t), {{there, link(honest(notes))}}, {}, true});
    return gate_at(v);
  };
  check_right(dispatch(alone(all_at({here, there}))), wanted);
  BOOST_TEST(notes->all().empty());
  // Unless this node cannot after all.
  auto failures = std::make_shared<std::atomic<int>>(1);
  auto experts = spawn_experts(layer);
  for (auto& e : experts)
    e = keep(system.spawn(flaky, e, failures));
  auto v = std::make_shared<route_view>(
      route_view{all_at({here, there}), {{there, link(honest(notes))}}, {}, true});
  check_right(dispatch(gate_with(experts, v, 1000ms)), wanted);
  BOOST_TEST(notes->all().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_bias_keeps_rows_here_and_without_it_they_leave) {
  auto notes = std::make_shared<notebook>();
  auto far = table({{3, {there}}});
  fill();
  auto& logits = *memory->buffers.router_logits;
  auto experts = model->config().experts;
  std::vector<float> equal(size_t{rows} * experts, 0.f); // any set has the same probability
  device->write(logits.data(), equal.data(), equal.size() * sizeof(float));
  bool needed = false;
  for (const auto& e : rows_by_expert(*model, work()))
    needed |= e.expert == expert_id{3};
  BOOST_REQUIRE(needed);
  for (double bias : {0.0, 0.3}) {
    auto asked = keep(system.spawn(gate, gate_config{model, layer, here,
                                                     view(far, {{there, link(honest(notes))}}),
                                                     spawn_experts(layer), 0ms, bias}));
    auto done = outcome_of(self->request(asked, generous, work()));
    BOOST_REQUIRE(done.outcome.ok());
    BOOST_TEST(notes->all().size() == 1u, bias); // by the gate without a bias
  }
}

BOOST_AUTO_TEST_SUITE_END()
