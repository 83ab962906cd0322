// Layers of a session at other nodes: same answers, whoever runs which layers and whatever dies.
#include "tests/actors/sentence.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/families.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <future>

using namespace coel;
using namespace coel::testing;
using actors::test::written;
using namespace std::chrono_literals;

namespace {

node_options plain() {
  node_options how;
  how.model = demo_model_f16();
  return how;
}

node_options staged(double share) {
  auto how = plain();
  how.share = share;
  how.adjust = [](size_t, actors::node_config& c) {
    c.cluster->planning.shape = policy::plan_shape::stages;
    c.cluster->planning.settle = 200ms;
  };
  return how;
}

/// Until every running node follows a plan with stages over nodes that are up, and has its experts.
void settle_in_stages(test_cluster& cluster, std::vector<size_t> running) {
  for (auto i : running)
    test_cluster::wait_for(
        [&] {
          auto p = cluster.placement(i);
          return "node " + std::to_string(i) + " to follow stages: " + p.planning.plan.why + "; " +
                 p.planning.note + cluster.links(i);
        },
        [&] {
          auto p = cluster.placement(i);
          return p.planning.plan.stages.size() > 1 && p.uncovered == 0 && p.wanted == 0 &&
                 p.loading == 0;
        });
}

std::vector<size_t> all_of(const test_cluster& cluster) {
  std::vector<size_t> out(cluster.size());
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = i;
  return out;
}

/// Which node of the test a stage of the plan is at; by name.
size_t node_of_stage(test_cluster& cluster, size_t home, size_t stage) {
  auto p = cluster.placement(home);
  BOOST_REQUIRE(stage < p.planning.plan.stages.size());
  const auto& key = p.planning.plan.stages[stage].key;
  for (size_t s = 0; s < p.planning.plan.shares.size(); ++s)
    if (p.planning.plan.shares[s].key == key)
      return static_cast<size_t>(p.planning.names[s].back() - '0');
  BOOST_FAIL("a stage of no node");
  return 0;
}

std::future<result<std::vector<int32_t>>> write(test_cluster& cluster, size_t home,
                                                const std::vector<int32_t>& prompt, size_t length,
                                                std::function<void(size_t)> at_token = {}) {
  return actors::test::write(cluster.system(home), cluster.model(home).scheduler, prompt, length,
                             std::move(at_token));
}

actors::stage_status stage_of(test_cluster& cluster, size_t i) {
  caf::scoped_actor self{cluster.system(i)};
  actors::stage_status out;
  self->request(cluster.model(i).stage, 5s, actors::atom::details::value)
      .receive([&](actors::stage_status& s) { out = s; }, [](caf::error&) {});
  return out;
}

uint32_t pages_used(test_cluster& cluster, size_t i) {
  caf::scoped_actor self{cluster.system(i)};
  uint32_t out = 0;
  self->request(cluster.model(i).scheduler, 5s, actors::atom::details::value)
      .receive([&](actors::scheduler_status& s) { out = s.pages_used; }, [](caf::error&) {});
  return out;
}

constexpr size_t long_sentence = 200;

/// The sentence that one node alone writes.
std::vector<int32_t> undisturbed(const std::vector<int32_t>& prompt, size_t length) {
  test_cluster one(1, plain());
  one.settle();
  return written(write(one, 0, prompt, length));
}

/// A sentence over three nodes, to whose second stage something happens after so many tokens; what
/// `happens` gives is called once it is written.
template <class Happens>
void write_while(size_t tokens, Happens happens) {
  auto prompt = some_tokens(30);
  auto expected = undisturbed(prompt, long_sentence);
  test_cluster cluster(3, staged(0.8));
  cluster.settle();
  settle_in_stages(cluster, all_of(cluster));
  size_t home = node_of_stage(cluster, 0, 0), second = node_of_stage(cluster, home, 1);
  std::promise<void> reached;
  auto outcome = write(cluster, home, prompt, long_sentence, [&](size_t n) {
    if (n == tokens)
      reached.set_value();
  });
  BOOST_REQUIRE(reached.get_future().wait_for(60s) == std::future_status::ready);
  auto then = happens(cluster, home, second);
  BOOST_TEST(written(std::move(outcome)) == expected, boost::test_tools::per_element());
  then();
}

} // namespace

BOOST_AUTO_TEST_SUITE(stages)

BOOST_AUTO_TEST_CASE(logits_do_not_depend_on_who_runs_which_layers) {
  auto tokens = some_tokens(150); // several slices
  std::vector<float> alone;
  for (size_t nodes : {1u, 2u, 3u, 5u, 8u})
    BOOST_TEST_CONTEXT(nodes << " nodes") {
      test_cluster cluster(nodes, nodes == 1 ? plain() : staged(1.25 / static_cast<double>(nodes)));
      cluster.settle();
      if (nodes > 1)
        settle_in_stages(cluster, all_of(cluster));
      for (size_t home : {size_t{0}, nodes - 1}) {
        auto got = must(cluster.logits(home, tokens));
        if (alone.empty())
          alone = got;
        BOOST_TEST(distance(got, alone) < 0.02); // Q8_0: see exact_test
        if (nodes > 1) {
          auto n = cluster.network(home);
          BOOST_TEST(n.hops > 0u);
          BOOST_TEST(n.moved == 0u);
          BOOST_TEST(n.refused == 0u);
        }
      }
    }
}

BOOST_AUTO_TEST_CASE(every_family_runs_in_stages) {
  for (const auto& one : families) {
    if (!std::filesystem::exists(one.file())) {
      BOOST_TEST_MESSAGE("skipped: " << one.file() << " is not here");
      continue;
    }
    BOOST_TEST_CONTEXT(one.name) {
      auto how = plain();
      how.model = one.file();
      test_cluster single(1, how);
      single.settle();
      auto tokens = some_tokens(48, 0, single.model(0).model->config().vocab);
      auto alone = must(single.logits(0, tokens));
      how = staged(0.7);
      how.model = one.file();
      test_cluster two(2, how);
      two.settle();
      settle_in_stages(two, all_of(two));
      for (size_t home : {0u, 1u}) {
        BOOST_TEST(distance(must(two.logits(home, tokens)), alone) < one.tolerance);
        BOOST_TEST(two.network(home).hops > 0u);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(sessions_at_once_write_what_one_node_writes) {
  std::vector<std::vector<int32_t>> prompts, expected;
  test_cluster one(1, plain());
  one.settle();
  for (size_t s = 0; s < 6; ++s) {
    prompts.push_back(some_tokens(5 + 40 * s, s));
    expected.push_back(written(write(one, 0, prompts[s], 40)));
  }
  test_cluster cluster(3, staged(0.45));
  cluster.settle();
  settle_in_stages(cluster, all_of(cluster));
  std::vector<std::future<result<std::vector<int32_t>>>> under_way;
  for (size_t s = 0; s < prompts.size(); ++s)
    under_way.push_back(write(cluster, s % 3, prompts[s], 40));
  for (size_t s = 0; s < prompts.size(); ++s)
    BOOST_TEST(written(std::move(under_way[s])) == expected[s], boost::test_tools::per_element());
  uint64_t hops = 0;
  for (size_t i = 0; i < 3; ++i)
    hops += cluster.network(i).hops;
  BOOST_TEST(hops > 0u);
  for (size_t i = 0; i < 3; ++i) // all that was lent came back
    test_cluster::wait_for(
        [&] {
          return "pages of node " + std::to_string(i) + ": " +
                 std::to_string(pages_used(cluster, i)) + " used";
        },
        [&] { return pages_used(cluster, i) == 0 && stage_of(cluster, i).open == 0; });
}

BOOST_AUTO_TEST_CASE(a_stage_dies_in_mid_sentence_and_the_sentence_goes_on) {
  write_while(60, [](test_cluster& cluster, size_t home, size_t victim) {
    cluster.kill(victim);
    return [&cluster, home] {
      BOOST_TEST(cluster.network(home).moved == 1u);
      BOOST_TEST(cluster.network(home).hops > 0u);
    };
  });
}

BOOST_AUTO_TEST_CASE(a_stage_that_drains_is_left_and_the_sentence_goes_on) {
  write_while(40, [](test_cluster& cluster, size_t, size_t leaves) {
    caf::anon_send(cluster.node(leaves).neighbours()->updater(), actors::atom::drain::value);
    return [] {};
  });
}

BOOST_AUTO_TEST_CASE(a_stage_without_room_refuses_and_the_session_runs_as_before) {
  auto how = staged(0.6);
  auto stages = how.adjust;
  how.adjust = [=](size_t i, actors::node_config& c) {
    stages(i, c);
    if (i == 1)
      c.hosting.kv_bytes = 128 << 10; // for a short sentence only
  };
  auto prompt = some_tokens(300);
  auto expected = undisturbed(prompt, 10);
  test_cluster cluster(2, how);
  cluster.settle();
  settle_in_stages(cluster, all_of(cluster));
  BOOST_TEST(written(write(cluster, 0, prompt, 10)) == expected, boost::test_tools::per_element());
  BOOST_TEST(cluster.network(0).refused == 1u);
  BOOST_TEST(stage_of(cluster, 1).refused == 1u);
  auto brief = some_tokens(12);
  written(write(cluster, 0, brief, 4));
  BOOST_TEST(cluster.network(0).hops > 0u);
}

BOOST_AUTO_TEST_SUITE_END()
