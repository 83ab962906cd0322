// What a gate's failure means to a request: the scheduler between them.
#include "actors/head.hpp"
#include "actors/runner.hpp"
#include "actors/scheduler.hpp"
#include "gate_world.hpp"

#include <future>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

/// Hears why its request failed; whatever else it is told changes nothing.
session_actor::behavior_type listener(session_actor::pointer,
                                      std::shared_ptr<std::promise<error>> failed) {
  return {[](atom::status) { return component_status{}; },
          [](atom::begin) {},
          [](const session_logits&) { return session_move{}; },
          [](const session_probe_ptr&) {},
          [](const app_answer&) {},
          [failed](const error& why) { failed->set_value(why); },
          [](atom::cancel) {},
          [](atom::gone) {},
          [](atom::deadline) {}};
}

struct request_world : gate_world {
  /// Expert 3 of one layer is behind a link.
  scheduler_actor schedule(answering answer) {
    const auto& c = model->config();
    scheduler_config how{model, {}, {}, memory, {16, 16, 4}, {c.context, 32, 8, 4, 4}, {}};
    std::vector<gate_actor> gates;
    auto neighbour = link(std::move(answer));
    how.head = keep(system.spawn(head, head_config{model, here, view(table())}));
    for (uint32_t l = 0; l < c.layers; ++l)
      gates.push_back(
          keep(system.spawn(gate, gate_config{model, layer_id(l), here,
                                              view(layer_id(l) == layer ? all_at({there}) : table(),
                                                   {{there, neighbour}}),
                                              spawn_experts(layer_id(l)), 0ms})));
    how.runner = keep(system.spawn(runner, runner_config{model, std::move(gates)}));
    return keep(system.spawn(scheduler, std::move(how)));
  }
  std::future<error> ask(const scheduler_actor& of, uint64_t id) {
    auto failed = std::make_shared<std::promise<error>>();
    auto session = keep(system.spawn(listener, failed));
    self->request(of, generous, admission{request_id{id}, {1, 2, 3}, 4, false}, session)
        .receive([](bool) {}, [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    return failed->get_future();
  }
  scheduler_status status_of(const scheduler_actor& of) {
    scheduler_status seen;
    self->request(of, generous, atom::details::value)
        .receive([&](scheduler_status& s) { seen = std::move(s); },
                 [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    return seen;
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(gate_request, request_world)

BOOST_AUTO_TEST_CASE(a_request_fails_with_the_reason_and_the_next_may_succeed) {
  auto schedules = schedule(failing({ec::io, "node b is gone: start it again"}, 2, honest()));
  for (uint64_t id : {1, 2}) {
    auto heard = ask(schedules, id);
    BOOST_REQUIRE_MESSAGE(heard.wait_for(generous) == std::future_status::ready,
                          "the request hangs");
    auto why = heard.get();
    BOOST_TEST(to_string(why.code) == "io");
    BOOST_TEST(why.message == "node b is gone: start it again");
  }
  auto last = ask(schedules, 3);
  for (auto end = steady::now() + generous; steady::now() < end;) {
    auto seen = status_of(schedules);
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
