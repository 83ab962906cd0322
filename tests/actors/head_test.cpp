// Logits from this node and its neighbours are those of this node alone.
#include "actors/head.hpp"
#include "actors/helper.hpp"
#include "expert_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

using answering = std::function<caf::result<partial_sum>(const remote_output&)>;

struct head_world : expert_world {
  std::vector<uint32_t> chosen{1, 4};
  helper_actor helps = keep(system.spawn(helper, helper_config{model, here, {}}));
  std::vector<float> alone = logits_after(run(view({})));

  /// All nodes are alike, and so slow that every neighbour's round trip pays.
  void forget_what_was_measured() {
    for (auto host : {here, there, elsewhere})
      model->costs->forget(host);
    model->costs->ran_columns(here, 1, chosen.size(), 1000);
  }

  using links = std::map<node_id, link_actor>;
  route_view_ptr view(links l) const {
    policy::routing_table all(model->config().layers, model->experts_per_layer, here);
    return std::make_shared<route_view>(route_view{std::move(all), std::move(l)});
  }
  link_actor link(answering answer) {
    auto behave = [answer](link_actor::pointer) -> link_actor::behavior_type {
      return {[](const remote_dispatch&) -> caf::result<partial_sum> {
                return to_caf({ec::busy, "not played"});
              },
              [=](const remote_output& asked) { return answer(asked); }};
    };
    return keep(system.spawn<caf::detached>(behave));
  }
  /// A neighbour that computes what it is asked, with the actor that does so on every node.
  answering honest(std::shared_ptr<std::atomic<uint32_t>> columns = {}) {
    return [this, columns](const remote_output& asked) -> caf::result<partial_sum> {
      if (columns)
        *columns += asked.end - asked.first;
      return compute_there(asked);
    };
  }
  caf::result<partial_sum> compute_there(const remote_output& asked) {
    caf::scoped_actor waits{system};
    std::optional<partial_sum> sum;
    error why;
    waits->request(helps, generous, asked)
        .receive([&](const partial_sum& s) { sum = s; }, [&](caf::error& e) { why = from_caf(e); });
    if (!sum)
      return to_caf(why);
    return *sum;
  }

  layer_done run(route_view_ptr where) {
    fill();
    std::fill_n(buffers().logits->f32(), chosen.size() * model->config().vocab, -1e9f);
    auto to = keep(system.spawn(head, head_config{model, here, std::move(where)}));
    layer_done done;
    self->request(to, generous, head_work{rows, chosen, memory})
        .receive([&](const layer_done& d) { done = d; },
                 [&](caf::error& e) { BOOST_FAIL("the head failed: " << from_caf(e).message); });
    return done;
  }
  std::vector<float> logits_after(const layer_done& done) {
    BOOST_REQUIRE(done.outcome.ok());
    const float* from = buffers().logits->f32();
    return {from, from + chosen.size() * model->config().vocab};
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(head_actor_, head_world)

BOOST_AUTO_TEST_CASE(alone_it_is_the_graph) {
  fill();
  BOOST_REQUIRE(compute::run(*device, model->graph().head(buffers(), rows, chosen)).ok());
  const float* from = buffers().logits->f32();
  BOOST_TEST((std::vector<float>(from, from + alone.size()) == alone));
}

BOOST_AUTO_TEST_CASE(neighbours_compute_their_columns) {
  auto one = std::make_shared<std::atomic<uint32_t>>(0);
  auto two = std::make_shared<std::atomic<uint32_t>>(0);
  forget_what_was_measured();
  auto done = run(view({{there, link(honest(one))}, {elsewhere, link(honest(two))}}));
  BOOST_TEST((logits_after(done) == alone));
  BOOST_TEST(*one > 0u);
  BOOST_TEST(*two > 0u);
  BOOST_TEST(*one + *two < model->config().vocab);
  BOOST_TEST(done.remote.size() == 2u);
  BOOST_TEST(done.repeats == 0u);
}

BOOST_AUTO_TEST_CASE(what_a_neighbour_fails_to_answer_is_computed_here) {
  auto failing = [](const remote_output&) -> caf::result<partial_sum> {
    return to_caf({ec::io, "gone"});
  };
  auto wrong = [](const remote_output& asked) -> caf::result<partial_sum> {
    return partial_sum{std::vector<float>(asked.rows), 0, 0, 0};
  };
  for (const answering& bad : {answering(failing), answering(wrong)}) {
    forget_what_was_measured();
    auto done = run(view({{there, link(bad)}, {elsewhere, link(honest())}}));
    BOOST_TEST((logits_after(done) == alone));
    BOOST_TEST(done.repeats == 1u);
  }
}

BOOST_AUTO_TEST_CASE(a_neighbour_that_let_it_wait_is_not_asked_again) {
  auto asked = std::make_shared<std::atomic<int>>(0);
  auto late = link([asked](const remote_output&) -> caf::result<partial_sum> {
    ++*asked;
    std::this_thread::sleep_for(100ms);
    return to_caf({ec::deadline, "too late"});
  });
  forget_what_was_measured();
  for (int i = 0; i < 3; ++i)
    BOOST_TEST((logits_after(run(view({{there, late}}))) == alone));
  BOOST_TEST(*asked == 1);
}

BOOST_AUTO_TEST_CASE(a_far_neighbour_is_left_alone) {
  forget_what_was_measured();
  model->costs->pinged(there, 1e9);
  auto columns = std::make_shared<std::atomic<uint32_t>>(0);
  BOOST_TEST((logits_after(run(view({{there, link(honest(columns))}}))) == alone));
  BOOST_TEST(*columns == 0u);
}

BOOST_AUTO_TEST_CASE(a_neighbour_with_experts_only_is_left_alone) {
  forget_what_was_measured();
  auto one = std::make_shared<std::atomic<uint32_t>>(0);
  auto two = std::make_shared<std::atomic<uint32_t>>(0);
  auto where = *view({{there, link(honest(one))}, {elsewhere, link(honest(two))}});
  where.helpers = {there};
  auto done = run(std::make_shared<route_view>(where));
  BOOST_TEST((logits_after(done) == alone));
  BOOST_TEST(*one == 0u);
  BOOST_TEST(*two > 0u);
}

BOOST_AUTO_TEST_CASE(a_node_without_the_output_matrix_says_so) {
  auto lean = std::make_shared<served_model>(*model);
  lean->dense = {};
  auto only_experts = keep(system.spawn(helper, helper_config{lean, here, {}}));
  remote_output ask{
      model->hash, 1, hidden(), 0, model->config().vocab, std::vector<float>(hidden(), 0.5f), {}};
  self->request(only_experts, generous, ask)
      .receive([](const partial_sum&) { BOOST_ERROR("it was not refused"); },
               [](caf::error& e) { BOOST_TEST((from_caf(e).code == ec::helper_only)); });
}

BOOST_AUTO_TEST_CASE(a_helper_refuses_columns_that_its_model_does_not_have) {
  auto vocab = model->config().vocab;
  remote_output good{model->hash, 1, hidden(), 0, vocab, std::vector<float>(hidden(), 0.5f), {}};
  auto code = [&](auto change) {
    auto ask = good;
    change(ask);
    ec got = ec::none;
    self->request(helps, generous, ask)
        .receive([](const partial_sum&) {}, [&](caf::error& e) { got = from_caf(e).code; });
    return got;
  };
  BOOST_TEST((code([](auto&) {}) == ec::none));
  BOOST_TEST((code([](auto& a) { a.model.fill(std::byte{1}); }) == ec::unknown_model));
  BOOST_TEST((code([&](auto& a) { a.end = vocab + 1; }) == ec::bad_frame));
  BOOST_TEST((code([&](auto& a) { a.first = vocab; }) == ec::bad_frame));
  BOOST_TEST((code([](auto& a) { a.first = 1; }) == ec::bad_frame));
  BOOST_TEST((code([](auto& a) { a.rows = 2; }) == ec::bad_frame));
  BOOST_TEST((code([](auto& a) { a.hidden = 1; }) == ec::bad_frame));
  BOOST_TEST((code([](auto& a) { a.rows = 0; }) == ec::bad_frame));
}

BOOST_AUTO_TEST_SUITE_END()
