// The gate sends rows to where the routing table says their experts are: here partly to a node
// behind a link that the test plays.
#include "actors/errors.hpp"
#include "actors/expert.hpp"
#include "actors/gate.hpp"
#include "actors/node.hpp"
#include "actors/scheduler.hpp"
#include "actors/tier.hpp"
#include "cpu/device.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <atomic>
#include <cmath>
#include <future>
#include <thread>

using namespace coel;
using namespace coel::actors;
using namespace std::chrono_literals;

namespace {

constexpr auto generous = 20s;
constexpr node_id here{0}, there{1}, elsewhere{2};
constexpr layer_id layer{1};
constexpr uint32_t rows = 5;

struct system_config : caf::actor_system_config {
  system_config() { configure(*this); }
};

using dispatches = std::vector<remote_dispatch>;
using answering =
    std::function<caf::result<partial_sum>(link_actor::pointer, const remote_dispatch&)>;

/// One layer's gate with real experts, on made up rows and routing.
struct fixture {
  system_config config;
  caf::actor_system system{config};
  compute::device_ptr device = *cpu::make_device({2, "", 0, false});
  served_model_ptr model = open();
  model::step_buffers buffers = *model::make_step_buffers(model->config(), *device, 16, 4);
  caf::scoped_actor self{system};
  std::vector<caf::strong_actor_ptr> actors;
  tier_actor ram = keep(system.spawn(tier, tier_config{"ram", 0, 2, {{model->name, model}}, {}}));

  ~fixture() {
    for (const auto& a : actors)
      caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
    (void)compute::run(*device, {}); // behind what still runs
  }

  template <class Handle>
  Handle keep(Handle actor) {
    actors.push_back(caf::actor_cast<caf::strong_actor_ptr>(actor));
    return actor;
  }

  served_model_ptr open() const {
    served_model m;
    m.name = "tiny";
    m.source = *model::open_model(COEL_SOURCE_DIR "/models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf");
    m.device = device;
    m.dense = *model::load_dense(*m.source, *device);
    m.experts_per_layer = model::experts_per_layer(*m.source);
    return std::make_shared<served_model>(std::move(m));
  }

  /// Expert 3, 5 and the first slice of the shared expert are `there`; 10 is where `tenth` says.
  policy::routing_table table(node_id tenth = here) const {
    policy::routing_table all(model->config().layers, model->experts_per_layer, here);
    for (uint32_t e : {3u, 5u, model->config().experts})
      all = all.with({layer, expert_id(e)}, {there, here});
    return all.with({layer, expert_id{10}}, {tenth});
  }
  gate_actor gate_at(layer_id l, policy::routing_table t, std::map<node_id, link_actor> links,
                     std::chrono::milliseconds link_timeout = 20s) {
    gate_config c{model,       l,
                  here,        std::make_shared<policy::routing_table>(std::move(t)),
                  {},          std::move(links),
                  link_timeout};
    for (uint32_t e = 0; e < model->experts_per_layer; ++e)
      c.experts.push_back(keep(
          system.spawn(expert, expert_config{model->name, {l, expert_id(e)}, dtype::q8_0, ram})));
    return keep(system.spawn(gate, std::move(c)));
  }
  /// On a thread of its own: it waits for the device, which a device's thread must not.
  link_actor link(answering answer) {
    auto behave = [answer](link_actor::pointer link) -> link_actor::behavior_type {
      return {[=](const remote_dispatch& asked) { return answer(link, asked); }};
    };
    return keep(system.spawn<caf::detached>(behave));
  }

  void write(const compute::buffer_ptr& to, size_t count,
             const std::function<double(size_t)>& value) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(value(i));
    device->write(to->data(), values.data(), count * sizeof(float));
  }
  /// Each row chose four of the experts; the residual is what attention left.
  void fill() {
    auto hidden = model->config().hidden, k = model->config().top_k;
    write(buffers.normed, rows * hidden,
          [](size_t i) { return std::sin(0.37 * static_cast<double>(i)); });
    write(buffers.residual, rows * hidden,
          [](size_t i) { return std::cos(0.11 * static_cast<double>(i)); });
    write(buffers.shared_weight, rows, [](size_t i) { return 0.2 + 0.1 * static_cast<double>(i); });
    write(buffers.weights, rows * k, [](size_t i) { return 0.1 + 0.01 * static_cast<double>(i); });
    for (uint32_t r = 0; r < rows; ++r)
      for (uint32_t i = 0; i < k; ++i)
        buffers.ids->i32()[r * k + i] =
            static_cast<int32_t>((r * 3 + i * 5) % model->config().experts);
  }
  std::vector<float> residual() const {
    std::vector<float> out(size_t{rows} * model->config().hidden);
    device->read(out.data(), buffers.residual->data(), out.size() * sizeof(float));
    return out;
  }
  layer_done dispatch(const gate_actor& to) {
    fill();
    layer_done done;
    self->request(to, generous, layer_work{layer, rows, &buffers})
        .receive([&](const layer_done& d) { done = d; },
                 [&](caf::error& e) {
                   BOOST_FAIL("the gate failed or hangs: " << from_caf(e).message);
                 });
    return done;
  }
  /// Why a gate with this link `there` fails, which must not end it: it is asked twice.
  error failure(answering answer, std::chrono::milliseconds timeout = 20s) {
    auto asked = gate_at(layer, table(), {{there, link(std::move(answer))}}, timeout);
    for (int i = 0; i < 2; ++i)
      if (auto done = dispatch(asked); done.outcome.ok())
        BOOST_ERROR("a sum that never came was not missed");
      else if (i == 1)
        return done.outcome.err();
    return {};
  }

  /// What a node does with a dispatch: its experts over the rows that it was sent.
  partial_sum computed(const remote_dispatch& asked) const {
    auto hidden = model->config().hidden;
    size_t bytes = asked.activations.size() * sizeof(float);
    partial_sum sum{std::vector<float>(asked.activations.size(), 0.f)};
    auto in = *device->allocate(bytes), out = *device->allocate(bytes);
    device->write(in->data(), asked.activations.data(), bytes);
    device->write(out->data(), sum.values.data(), bytes);
    std::vector<compute::expert_task> tasks;
    for (const auto& e : asked.experts)
      tasks.push_back({*model::load_expert(*model->source, *device, {asked.layer, e.id}), e.rows,
                       e.weights, nullptr});
    compute::command_list list;
    list.push_back(compute::run_experts{
        {in->f32(), asked.rows, hidden}, std::move(tasks), {out->f32(), asked.rows, hidden}});
    BOOST_TEST(compute::run(*device, std::move(list)).ok());
    device->read(sum.values.data(), out->data(), bytes);
    return sum;
  }
};

void check_close(const std::vector<float>& got, const std::vector<float>& expected) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    BOOST_REQUIRE_SMALL(got[i] - expected[i], 1e-4f * (1 + std::abs(expected[i])));
}

/// Hears why its request failed; whatever else it is told changes nothing.
session_actor::behavior_type listener(session_actor::pointer,
                                      std::shared_ptr<std::promise<error>> failed) {
  return {[](atom::status) { return component_status{}; },
          [](atom::begin) {},
          [](const session_logits&) { return session_move{}; },
          [failed](const error& why) { failed->set_value(why); },
          [](atom::cancel) {},
          [](atom::gone) {},
          [](atom::deadline) {}};
}

/// Answers with the same number everywhere; `kept`, which is one link's alone, gets what was asked.
answering constant(float value, const std::shared_ptr<dispatches>& kept = {}) {
  return [=](link_actor::pointer, const remote_dispatch& asked) -> caf::result<partial_sum> {
    if (kept)
      kept->push_back(asked);
    return partial_sum{std::vector<float>(asked.activations.size(), value)};
  };
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(gate_dispatch, fixture)

BOOST_AUTO_TEST_CASE(the_answer_does_not_depend_on_where_experts_are) {
  policy::routing_table all_here(model->config().layers, model->experts_per_layer, here);
  BOOST_REQUIRE(dispatch(gate_at(layer, all_here, {})).outcome.ok());
  auto expected = residual();
  auto compute_there = [this](link_actor::pointer,
                              const remote_dispatch& d) -> caf::result<partial_sum> {
    return computed(d);
  };
  auto split = dispatch(gate_at(layer, table(elsewhere),
                                {{there, link(compute_there)}, {elsewhere, link(compute_there)}}));
  BOOST_REQUIRE(split.outcome.ok());
  BOOST_TEST(split.remote_nodes == 2u);
  check_close(residual(), expected);
  policy::routing_table all_there(model->config().layers, model->experts_per_layer, there);
  auto remote = dispatch(gate_at(layer, all_there, {{there, link(compute_there)}}));
  BOOST_REQUIRE(remote.outcome.ok());
  BOOST_TEST(remote.local_experts == 0u);
  check_close(residual(), expected);
}

BOOST_AUTO_TEST_CASE(a_node_gets_one_message_with_the_rows_of_its_experts) {
  auto kept = std::make_shared<dispatches>();
  auto done = dispatch(gate_at(layer, table(), {{there, link(constant(0, kept))}}));
  BOOST_REQUIRE(done.outcome.ok());
  BOOST_REQUIRE_EQUAL(kept->size(), 1u);
  const auto& asked = kept->front();
  BOOST_TEST(index(asked.layer) == index(layer));
  BOOST_TEST(asked.rows == rows);
  std::vector<float> normed(size_t{rows} * model->config().hidden);
  device->read(normed.data(), buffers.normed->data(), normed.size() * sizeof(float));
  BOOST_TEST((asked.activations == normed));
  BOOST_REQUIRE_EQUAL(asked.experts.size(), 3u); // row r chose r * 3, + 5, + 10, + 15, modulo 16
  BOOST_TEST(index(asked.experts[0].id) == 3u);
  BOOST_TEST((asked.experts[0].rows == std::vector<uint32_t>{1, 3}));
  std::vector<float> weights{static_cast<float>(0.1 + 0.01 * 4),
                             static_cast<float>(0.1 + 0.01 * 14)};
  BOOST_TEST(asked.experts[0].weights == weights, boost::test_tools::per_element());
  BOOST_TEST(index(asked.experts[1].id) == 5u);
  BOOST_TEST((asked.experts[1].rows == std::vector<uint32_t>{0, 2}));
  BOOST_TEST(index(asked.experts[2].id) ==
             model->config().experts); // a slice: every row, by its gate
  BOOST_TEST((asked.experts[2].rows == std::vector<uint32_t>{0, 1, 2, 3, 4}));
  BOOST_TEST(asked.experts[2].weights.size() == rows);
  BOOST_TEST(asked.experts[2].weights.back() == 0.6f);
}

BOOST_AUTO_TEST_CASE(sums_of_all_nodes_are_added_once) {
  auto gate_with = [this](float first, float second) {
    return gate_at(layer, table(elsewhere),
                   {{there, link(constant(first))}, {elsewhere, link(constant(second))}});
  };
  BOOST_REQUIRE(dispatch(gate_with(0, 0)).outcome.ok());
  auto without = residual();
  auto asked = gate_with(2, 0.5f);
  for (int again = 0; again < 2; ++again) {
    BOOST_REQUIRE(dispatch(asked).outcome.ok());
    auto with = residual();
    for (size_t i = 0; i < with.size(); ++i)
      BOOST_REQUIRE_EQUAL(with[i], without[i] + 2.5f);
  }
}

BOOST_AUTO_TEST_CASE(an_error_of_a_node_is_the_reason) {
  auto why = failure([](link_actor::pointer, const remote_dispatch&) -> caf::result<partial_sum> {
    return to_caf({ec::out_of_memory, "node 1 has no room for 5 rows"});
  });
  BOOST_TEST(to_string(why.code) == "out_of_memory");
  BOOST_TEST(why.message == "node 1 has no room for 5 rows");
}

BOOST_AUTO_TEST_CASE(a_node_that_never_answers_is_given_up) {
  using promise = caf::typed_response_promise<partial_sum>;
  auto kept = std::make_shared<std::vector<promise>>();
  auto why = failure(
      [kept](link_actor::pointer link, const remote_dispatch&) -> caf::result<partial_sum> {
        for (auto& late : *kept) // an answer to what was given up changes nothing
          late.deliver(partial_sum{});
        kept->assign(1, link->make_response_promise<partial_sum>());
        return kept->back();
      },
      20ms);
  BOOST_TEST(!why.message.empty());
  kept->clear();
}

/// The first dispatch is lost with the link, so that only the deadline ends it; the second bounces.
BOOST_AUTO_TEST_CASE(a_link_that_ends_is_a_reason) {
  auto why = failure(
      [](link_actor::pointer link, const remote_dispatch&) -> caf::result<partial_sum> {
        link->quit(caf::exit_reason::user_shutdown);
        return link->make_response_promise<partial_sum>();
      },
      20ms);
  BOOST_TEST(!why.message.empty());
}

BOOST_AUTO_TEST_CASE(a_sum_of_another_size_is_not_used) {
  auto why = failure([](link_actor::pointer, const remote_dispatch& d) -> caf::result<partial_sum> {
    return partial_sum{std::vector<float>(d.activations.size() - 1, 1.f)};
  });
  BOOST_TEST(to_string(why.code) == "bad_frame");
}

BOOST_AUTO_TEST_CASE(without_a_link_the_node_is_named) {
  auto done = dispatch(gate_at(layer, table(), {}));
  BOOST_REQUIRE(!done.outcome.ok());
  BOOST_TEST(to_string(done.outcome.err().code) == "expert_not_here");
  BOOST_TEST(done.outcome.err().message.find("node 1") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_request_fails_with_the_reason_and_the_next_may_succeed) {
  const auto& c = model->config();
  auto good = std::make_shared<std::atomic<bool>>(false);
  auto sometimes =
      link([=, this](link_actor::pointer, const remote_dispatch& d) -> caf::result<partial_sum> {
        if (*good)
          return computed(d);
        return to_caf({ec::io, "node 1 is gone: start it again"});
      });
  scheduler_config config_of{
      model,   {},          *device->make_kv_cache({c.layers, c.kv_heads, c.head_dim, 32, 8}),
      buffers, {16, 16, 4}, {c.context, 32, 8, 4, 4},
      {}};
  policy::routing_table all_here(c.layers, model->experts_per_layer, here);
  for (uint32_t l = 0; l < c.layers; ++l)
    config_of.gates.push_back(
        gate_at(layer_id(l), layer_id(l) == layer ? table() : all_here, {{there, sometimes}}));
  auto schedules = keep(system.spawn(scheduler, std::move(config_of)));
  for (uint64_t id = 1; id <= 3; ++id) {
    *good = id == 3;
    auto failed = std::make_shared<std::promise<error>>();
    auto session = keep(system.spawn(listener, failed));
    self->request(schedules, generous, admission{request_id{id}, {1, 2, 3}, 4, false}, session)
        .receive([](bool) {}, [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    if (*good)
      break;
    auto heard = failed->get_future();
    BOOST_REQUIRE_MESSAGE(heard.wait_for(generous) == std::future_status::ready,
                          "the request hangs");
    auto why = heard.get();
    BOOST_TEST(to_string(why.code) == "io");
    BOOST_TEST(why.message == "node 1 is gone: start it again");
  }
  for (auto end = std::chrono::steady_clock::now() + generous;
       std::chrono::steady_clock::now() < end;) {
    scheduler_status seen;
    self->request(schedules, generous, atom::details::value)
        .receive([&](scheduler_status& s) { seen = std::move(s); }, [](caf::error&) {});
    if (seen.sessions.empty()) { // it ended by itself, and gave its memory back
      BOOST_TEST(seen.pages_used == 0u);
      BOOST_TEST(seen.tokens_in == 9u);
      return;
    }
    std::this_thread::sleep_for(5ms);
  }
  BOOST_ERROR("the request after the failed ones never ended");
}

BOOST_AUTO_TEST_SUITE_END()
