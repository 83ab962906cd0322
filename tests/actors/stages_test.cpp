// Layers of sessions at played neighbours: a home and two stages in one process, with wires between
// them that lose, refuse, hold and spoil what the test says. Whatever they do, the sentence is the
// one that the home writes alone.
#include "actors/gate.hpp"
#include "actors/head.hpp"
#include "actors/runner.hpp"
#include "actors/scheduler.hpp"
#include "actors/stage.hpp"
#include "expert_world.hpp"
#include "tests/actors/sentence.hpp"

#include <algorithm>
#include <future>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

constexpr node_id home_there{5}; // the home's number at its stages

/// What happens to a frame on its way: it passes, it is lost, or its sender hears of an error.
struct fate {
  bool passes = true;
  std::optional<error> why{};
};
const fate passed{}, lost{false, {}};

struct wire_rules {
  std::function<fate(const stage_open&)> open;
  std::function<fate(const stage_run&)> run;
  std::function<fate(stage_answer&)> answer;
};
using wire_rules_ptr = std::shared_ptr<wire_rules>;

template <class Message>
fate judge(const std::function<fate(Message&)>& rule, Message& m) {
  return rule ? rule(m) : passed;
}

stage_link::behavior_type wire_to_stage(stage_link::pointer self, stage_actor to,
                                        wire_rules_ptr rules) {
  return {[=](const stage_open& ask) -> caf::result<bool> {
            auto f = judge(rules->open, ask);
            if (f.why)
              return to_caf(*f.why);
            return self->delegate(to, home_there, ask);
          },
          [=](const stage_close& what) { self->send(to, home_there, what); },
          [=](const stage_run& run) -> caf::result<bool> {
            auto f = judge(rules->run, run);
            if (f.why)
              return to_caf(*f.why);
            if (!f.passes)
              return true;
            return self->delegate(to, run);
          },
          [=](const stage_answer&) -> caf::result<bool> {
            return to_caf({ec::internal, "an answer to a stage"});
          }};
}

stage_link::behavior_type wire_to_home(stage_link::pointer self, scheduler_actor to,
                                       wire_rules_ptr rules) {
  return {[](const stage_open&) -> caf::result<bool> {
            return to_caf({ec::internal, "a stage opens nothing"});
          },
          [](const stage_close&) {},
          [](const stage_run&) -> caf::result<bool> {
            return to_caf({ec::internal, "a run to the home"});
          },
          [=](const stage_answer& said) -> caf::result<bool> {
            auto changed = said;
            auto f = judge(rules->answer, changed);
            if (f.why)
              return to_caf(*f.why);
            if (f.passes)
              self->send(to, std::move(changed));
            return true;
          }};
}

struct stage_world : expert_world {
  struct played_node {
    step_memory_ptr own, others;
    scheduler_actor scheduler;
    stage_actor stage;
    wire_rules_ptr rules = std::make_shared<wire_rules>();
    stage_link wire;
  };
  static constexpr uint32_t pages = 8;
  played_node home = make_node(1s), one = make_node(generous), two = make_node(generous);

  stage_world() {
    one.wire = keep(system.spawn(wire_to_stage, one.stage, one.rules));
    two.wire = keep(system.spawn(wire_to_stage, two.stage, two.rules));
    home.wire = keep(system.spawn(wire_to_home, home.scheduler, home.rules));
    auto there =
        at_stages({{home_there, home.wire}, {node_id{1}, one.wire}, {node_id{2}, two.wire}},
                  {{"home", home_there}, {"one", node_id{1}}, {"two", node_id{2}}});
    self->send(one.stage, atom::publish::value, there);
    self->send(two.stage, atom::publish::value, there);
    publish(both());
  }

  route_view_ptr at_stages(std::map<node_id, stage_link> links, std::map<std::string, node_id> keys,
                           stage_path path = {}, std::set<node_id> leaving = {}) const {
    policy::routing_table all(model->config().layers, model->experts_per_layer, here);
    route_view view{std::move(all), {}};
    view.stages = {std::move(path), std::move(links), std::move(leaving),
                   std::move(keys), "home",           false};
    return std::make_shared<const route_view>(std::move(view));
  }
  stage_path both() const {
    return {{node_id{1}, "one", 0, 3}, {node_id{2}, "two", 3, model->config().layers}};
  }
  /// The home's own first layer, then the others'.
  stage_path from_here() const {
    return {{this_node, "home", 0, 1},
            {node_id{1}, "one", 1, 2},
            {node_id{2}, "two", 2, model->config().layers}};
  }
  void publish(stage_path path, std::set<node_id> leaving = {}) {
    self->send(home.scheduler, atom::publish::value,
               at_stages({{this_node, {}}, {node_id{1}, one.wire}, {node_id{2}, two.wire}},
                         {{"home", this_node}, {"one", node_id{1}}, {"two", node_id{2}}},
                         std::move(path), std::move(leaving)));
  }

  played_node make_node(std::chrono::milliseconds patience) {
    const auto& c = model->config();
    played_node n;
    n.own = make_memory();
    n.others = std::make_shared<const step_memory>(step_memory{
        model, *model::make_step_buffers(c, *device, most_stage_rows, 1), n.own->cache});
    policy::routing_table all(c.layers, model->experts_per_layer, here);
    auto view = std::make_shared<route_view>(route_view{all, {}});
    std::vector<gate_actor> gates;
    for (uint32_t l = 0; l < c.layers; ++l)
      gates.push_back(keep(system.spawn(
          gate, gate_config{model, layer_id(l), here, view, spawn_experts(layer_id(l)), 0ms})));
    scheduler_config how{model, {}, {}, n.own, {16, 16, 4}, {c.context, 32, pages, 4, 4}, {}};
    how.runner = keep(system.spawn(runner, runner_config{model, gates}));
    how.head = keep(system.spawn(head, head_config{model, here, view}));
    how.stage_patience = patience;
    n.scheduler = keep(system.spawn(scheduler, std::move(how)));
    stage_config s;
    s.model = model;
    s.runner = keep(system.spawn(runner, runner_config{model, gates}));
    s.scheduler = n.scheduler;
    s.memory = n.others;
    s.context = c.context;
    s.pages = pages;
    s.view = view;
    n.stage = keep(system.spawn(stage, std::move(s)));
    return n;
  }

  std::future<result<std::vector<int32_t>>> write(const scheduler_actor& at, size_t prompt,
                                                  size_t length,
                                                  std::function<void(size_t)> at_token = {}) {
    std::vector<int32_t> tokens(prompt);
    for (size_t i = 0; i < prompt; ++i)
      tokens[i] = static_cast<int32_t>((i * 7919 + 13) % 500);
    return actors::test::write(system, at, std::move(tokens), length, std::move(at_token));
  }
  /// Another node's scheduler has no stages: the hub.
  std::vector<int32_t> alone(size_t prompt, size_t length) {
    return written(write(one.scheduler, prompt, length));
  }
  void check_same(size_t prompt, size_t length, std::function<void(size_t)> at_token = {}) {
    auto expected = alone(prompt, length);
    auto got = written(write(home.scheduler, prompt, length, std::move(at_token)));
    BOOST_TEST(got == expected, boost::test_tools::per_element());
  }
  scheduler_status status(const played_node& n) {
    scheduler_status seen;
    self->request(n.scheduler, generous, atom::details::value)
        .receive([&](scheduler_status& s) { seen = std::move(s); },
                 [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
    return seen;
  }
  /// Whatever happened, every page comes back.
  void check_all_free() {
    for (const auto* n : {&home, &one, &two}) {
      auto end = steady::now() + generous;
      while (status(*n).pages_used && steady::now() < end)
        std::this_thread::sleep_for(5ms);
      BOOST_TEST(status(*n).pages_used == 0u);
    }
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(session_stages, stage_world)

BOOST_AUTO_TEST_CASE(a_sentence_is_the_same_through_stages) {
  check_same(40, 20); // three slices
  auto n = status(home).network;
  BOOST_TEST(n.hops > 0u);
  BOOST_TEST(n.moved == 0u);
  publish(from_here());
  check_same(40, 20);
  BOOST_TEST(status(home).network.hops > n.hops);
  BOOST_TEST(status(home).network.moved == 0u);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(the_home_knows_what_its_tokens_chose_elsewhere) {
  alone(12, 8);
  check_same(12, 8);
  auto here_only = status(one), staged = status(home);
  BOOST_TEST(staged.routed_tokens == 19u); // the last token drawn is not fed
  for (size_t l = 0; l < staged.popularity.size(); ++l)
    for (size_t e = 0; e < staged.popularity[l].size(); ++e)
      BOOST_TEST(std::abs(staged.popularity[l][e] - here_only.popularity[l][e]) < 0.01);
}

BOOST_AUTO_TEST_CASE(a_run_that_is_lost_is_made_good) {
  for (size_t which : {1u, 3u, 9u}) // in the prompt, and later
    BOOST_TEST_CONTEXT("run " << which) {
      auto seen = std::make_shared<size_t>(0);
      two.rules->run = [=](const stage_run&) { return ++*seen == which ? lost : passed; };
      auto before = status(home).network.moved;
      check_same(40, 12);
      BOOST_TEST(status(home).network.moved == before + 1);
      two.rules->run = {};
    }
  check_all_free();
}

BOOST_AUTO_TEST_CASE(a_stage_that_cannot_be_reached_or_fails_is_left) {
  auto once = [](error why) {
    auto left = std::make_shared<std::atomic<int>>(1);
    return [=](const auto&) { return left->fetch_sub(1) == 1 ? fate{false, why} : passed; };
  };
  one.rules->run = once({ec::io, "node one is not connected"}); // the home hears it itself
  check_same(10, 6);
  two.rules->run = once({ec::io, "node two is not connected"}); // the stage before tells it
  check_same(10, 6);
  BOOST_TEST(status(home).network.moved == 2u);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(an_answer_of_another_shape_is_not_used) {
  auto spoil = [this](std::function<void(stage_answer&)> how) {
    auto left = std::make_shared<std::atomic<int>>(1);
    home.rules->answer = [=](stage_answer& a) {
      if (left->fetch_sub(1) == 1)
        how(a);
      return passed;
    };
    check_same(10, 6);
  };
  spoil([](stage_answer& a) { a.values.pop_back(); });
  spoil([](stage_answer& a) { a.routing.pop_back(); });
  spoil([](stage_answer& a) { a.routing[0] = 60000; });
  spoil([](stage_answer& a) { a.outcome = error{ec::device_lost, "its device failed"}; });
  BOOST_TEST(status(home).network.moved == 4u);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(without_room_at_a_stage_the_home_runs_all_layers) {
  two.rules->open = [](const stage_open&) { return fate{false, error{ec::busy, "it is full"}}; };
  check_same(10, 6);
  auto n = status(home).network;
  BOOST_TEST(n.refused == 1u);
  BOOST_TEST(n.hops == 0u);
  check_all_free(); // what the other stage had granted is given back
  two.rules->open = {};
  // Nor where a session's tokens are more than a stage's pages, of which others have some.
  std::vector<uint32_t> taken;
  self->request(one.scheduler, generous, atom::reserve::value, pages - 1)
      .receive([&](std::vector<uint32_t>& p) { taken = p; },
               [](caf::error& e) { BOOST_FAIL(from_caf(e).message); });
  auto expected = written(write(two.scheduler, 40, 6));
  BOOST_TEST(written(write(home.scheduler, 40, 6)) == expected, boost::test_tools::per_element());
  BOOST_TEST(status(home).network.refused == 2u);
  self->send(one.scheduler, atom::release::value, taken);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(a_stage_that_goes_or_drains_is_left_in_mid_sentence) {
  check_same(20, 12, [this](size_t n) {
    if (n == 5)
      publish({});
  });
  BOOST_TEST(status(home).network.moved == 0u); // the plan changed: a session keeps its way
  publish(both());
  check_same(20, 12, [this](size_t n) {
    if (n == 5)
      publish({}, {node_id{2}});
  });
  BOOST_TEST(status(home).network.moved == 1u);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(a_session_that_is_moved_takes_another_way_if_the_plan_has_one) {
  check_same(20, 12, [this](size_t n) {
    if (n == 5)
      publish({{this_node, "home", 0, 1}, {node_id{1}, "one", 1, model->config().layers}},
              {node_id{2}});
  });
  auto n = status(home).network;
  BOOST_TEST(n.moved == 1u);
  BOOST_TEST(n.refused == 0u);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(what_comes_late_is_nobodys) {
  auto kept = std::make_shared<std::vector<stage_answer>>();
  auto seen = std::make_shared<std::atomic<int>>(0);
  home.rules->answer = [=](stage_answer& a) {
    if (++*seen != 4)
      return passed;
    kept->push_back(a);
    return lost;
  };
  check_same(20, 12, [=, this](size_t n) {
    if (n == 8)
      for (const auto& late : *kept)
        self->send(home.scheduler, late);
  });
  BOOST_TEST(kept->size() == 1u);
  BOOST_TEST(status(home).network.moved == 1u);
  check_all_free();
}

BOOST_AUTO_TEST_CASE(stages_work_at_the_same_time) {
  auto at_one = std::make_shared<std::atomic<int>>(0);
  auto door = std::make_shared<doorway>();
  auto first = std::make_shared<std::atomic<bool>>(true);
  one.rules->run = [=](const stage_run&) {
    ++*at_one;
    return passed;
  };
  // The second stage's wire stands still with the first run; slices of the same prompt go on to the
  // first stage meanwhile.
  auto held = std::make_shared<std::vector<stage_run>>();
  two.rules->run = [=](const stage_run& r) {
    if (first->exchange(false)) {
      held->push_back(r);
      return lost;
    }
    return passed;
  };
  auto outcome = write(home.scheduler, 60, 3);
  auto end = steady::now() + 900ms; // before the home gives the run up
  while (*at_one < 3 && steady::now() < end)
    std::this_thread::sleep_for(1ms);
  BOOST_TEST(*at_one >= 2);
  BOOST_TEST(written(std::move(outcome)) == alone(60, 3), boost::test_tools::per_element());
  check_all_free();
}

BOOST_AUTO_TEST_CASE(sessions_that_are_cancelled_leave_nothing_behind) {
  std::vector<std::future<result<std::vector<int32_t>>>> under_way;
  for (int i = 0; i < 3; ++i)
    under_way.push_back(write(home.scheduler, 10 + 10 * static_cast<size_t>(i), 30));
  for (uint64_t id = 1; id <= 3; id += 2)
    self->send(home.scheduler, atom::leave::value, request_id{id});
  BOOST_TEST(written(std::move(under_way[1])) == alone(20, 30), boost::test_tools::per_element());
  BOOST_TEST(status(home).network.moved == 0u);
  check_all_free();
}

BOOST_AUTO_TEST_SUITE_END()
