// Plans of running nodes: all follow the same, spare memory holds replicas, a slow node is avoided,
// and two homes never count on the same memory of a third.
#include "actors/errors.hpp"
#include "net/link_frames.hpp"
#include "policy/routing_trace.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/slow_device.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <numeric>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;
using policy::routing_trace;

namespace {

/// Of the demo model in Q8_0: see exact_test.
constexpr double same = 0.02;

node_options quick(double share) {
  node_options how;
  how.share = share;
  how.adjust = [](size_t, actors::node_config& c) {
    c.cluster->planning.settle = 200ms;
    c.cluster->planning.every = 500ms;
  };
  return how;
}

std::vector<float> expected(const std::vector<int32_t>& tokens) {
  test_cluster alone(1, quick(1));
  alone.settle();
  return *alone.logits(0, tokens);
}

const planned_share* share_of(const plan_record& plan, const std::string& key) {
  for (const auto& s : plan.shares)
    if (s.key == key)
      return &s;
  return nullptr;
}

std::string told(test_cluster& all) {
  std::string out;
  for (size_t i = 0; i < all.size(); ++i) {
    auto p = all.placement(i).planning;
    out += "; node" + std::to_string(i) + " " + p.state + " epoch " + std::to_string(p.plan.epoch) +
           " of " + p.planner + ": " + p.note;
  }
  return out;
}

/// Every node follows the same plan, over all of them, and holds what it says.
bool agreed(test_cluster& all) {
  auto first = all.placement(0).planning.plan;
  if (!first.epoch || first.shares.size() != all.size())
    return false;
  for (size_t i = 0; i < all.size(); ++i) {
    auto p = all.placement(i);
    const auto* share = share_of(first, all.node(i).neighbours()->key());
    const auto& plan = p.planning.plan;
    bool same_plan =
        plan.epoch == first.epoch && plan.planner == first.planner && plan.shares == first.shares;
    if (!same_plan || !share || p.uncovered || p.wanted || p.loading)
      return false;
    for (size_t x = 0; x < share->holds.size(); ++x)
      if (share->holds.test(x) && !p.nodes.front().holds.test(x))
        return false;
  }
  return true;
}

void wait_until_agreed(test_cluster& all) {
  test_cluster::wait_for([&] { return "all nodes to follow one plan" + told(all); },
                         [&] { return agreed(all); });
}

uint64_t promised_by(test_cluster& all, size_t i) {
  uint64_t sum = 0;
  for (const auto& p : all.placement(i).planning.promised)
    sum += p.bytes;
  return sum;
}

uint64_t asked_of(test_cluster& all, size_t from, const std::string& name) {
  caf::scoped_actor self{all.system(from)};
  uint64_t dispatches = 0;
  self->request(all.node(from).neighbours()->perception(), 5s, actors::atom::details::value)
      .receive(
          [&](const std::vector<actors::link_status>& links) {
            for (const auto& l : links)
              if (l.name == name)
                dispatches += l.counts.dispatches;
          },
          [](caf::error& why) { BOOST_FAIL(caf::to_string(why)); });
  return dispatches;
}

void expel(test_cluster& all, size_t i, size_t whom) {
  caf::scoped_actor self{all.system(i)};
  self->request(all.node(i).neighbours()->perception(), 5s, actors::atom::expel::value,
                all.node(whom).neighbours()->key())
      .receive([](const std::string&) {}, [](caf::error& why) { BOOST_FAIL(caf::to_string(why)); });
}

} // namespace

BOOST_AUTO_TEST_SUITE(placement)

BOOST_AUTO_TEST_CASE(nodes_follow_one_plan_with_replicas_in_spare_memory) {
  auto tokens = some_tokens(48);
  auto wanted = expected(tokens);
  test_cluster all(3, quick(0.6));
  all.settle();
  wait_until_agreed(all);
  auto p = all.placement(0);
  std::vector<size_t> copies(size_t{p.layers} * p.experts_per_layer);
  for (const auto& n : p.nodes) {
    BOOST_TEST(n.holds.count() <= n.room + 1, n.name);
    for (size_t i = 0; i < copies.size(); ++i)
      copies[i] += n.holds.test(i);
  }
  BOOST_TEST(*std::min_element(copies.begin(), copies.end()) >= 1u);
  auto held = std::accumulate(copies.begin(), copies.end(), size_t{0});
  BOOST_TEST(held * 2 >= copies.size() * 3); // 1.8 copies' room
  for (size_t i = 0; i < all.size(); ++i) {
    auto got = all.logits(i, tokens);
    BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
    BOOST_TEST(distance(*got, wanted) < same);
  }
  BOOST_TEST(p.planning.plan.options.size() > 4u);
  BOOST_TEST(!p.planning.plan.why.empty());
}

BOOST_AUTO_TEST_CASE(a_plan_outlives_its_planner_and_a_new_one_follows) {
  auto tokens = some_tokens(24);
  auto wanted = expected(tokens);
  test_cluster all(3, quick(0.6));
  all.settle();
  wait_until_agreed(all);
  auto before = all.placement(0).planning.plan;
  size_t planner = 0, other = 0;
  for (size_t i = 0; i < all.size(); ++i)
    (all.node(i).neighbours()->key() == before.planner ? planner : other) = i;
  all.kill(planner);
  auto got = all.logits(other, tokens);
  BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
  BOOST_TEST(distance(*got, wanted) < same);
  test_cluster::wait_for([&] { return "a plan of another: " + all.placement(other).planning.note; },
                         [&] {
                           auto now = all.placement(other).planning.plan;
                           return now.epoch > before.epoch && now.planner != before.planner &&
                                  now.shares.size() == 2;
                         });
  got = all.logits(other, tokens);
  BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
  BOOST_TEST(distance(*got, wanted) < same);
}

BOOST_AUTO_TEST_CASE(a_node_that_became_slow_is_avoided) {
  auto tokens = some_tokens(16);
  auto wanted = expected(tokens);
  auto delay = std::make_shared<std::atomic<uint32_t>>(0);
  auto how = quick(0.5);
  how.device = [=](size_t i, compute::device_ptr real) -> compute::device_ptr {
    return i == 2 ? std::make_shared<slow_device>(std::move(real), delay) : real;
  };
  how.adjust = [adjust = how.adjust](size_t i, actors::node_config& c) {
    adjust(i, c);
    c.hosting.helper_only = i > 0;
    if (i > 0)
      c.ram_bytes = 0; // each helper holds everything
  };
  test_cluster all(3, how);
  all.settle();
  wait_until_agreed(all);
  *delay = 20'000;
  for (int i = 0; i < 12; ++i) // what it takes to notice
    BOOST_REQUIRE(all.logits(0, some_tokens(8, i)).ok());
  auto slow = asked_of(all, 0, "node2"), steady = asked_of(all, 0, "node1");
  for (int i = 0; i < 30; ++i) {
    auto got = all.logits(0, tokens);
    BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
    BOOST_TEST(distance(*got, wanted) < same);
  }
  slow = asked_of(all, 0, "node2") - slow;
  steady = asked_of(all, 0, "node1") - steady;
  BOOST_TEST(steady > 30u);
  BOOST_TEST(slow * 4 < steady, "slow " << slow << ", other " << steady);
}

routing_trace routed_by(test_cluster& all, size_t from, size_t whom) {
  caf::scoped_actor self{all.system(from)};
  actors::members_ptr members;
  self->request(all.node(from).neighbours()->perception(), 5s, actors::atom::members::value)
      .receive([&](const actors::members_ptr& m) { members = m; },
               [](caf::error& why) { BOOST_FAIL(caf::to_string(why)); });
  routing_trace out;
  actors::file_want ask{all.model(from).model->hash, net::want_frame::routing_file, 0,
                        net::max_block_bytes};
  for (const auto& who : *members)
    if (who.key == all.node(whom).neighbours()->key())
      self->request(who.link, 5s, ask)
          .receive([&](const actors::file_block& b) { out = *policy::parse_routing(b.bytes); },
                   [](caf::error& why) { BOOST_FAIL(actors::from_caf(why).message); });
  return out;
}

BOOST_AUTO_TEST_CASE(plans_are_made_from_what_every_home_routed) {
  test_cluster all(2, quick(0.7));
  all.settle();
  auto tokens = some_tokens(200);
  BOOST_REQUIRE(all.logits(1, tokens).ok());
  auto sample = routed_by(all, 0, 1);
  const auto& c = all.model(0).model->config();
  BOOST_TEST((sample.shape == policy::routing_shape{c.layers, c.experts, c.top_k}));
  BOOST_TEST(sample.tokens() == tokens.size());
  BOOST_TEST(routed_by(all, 1, 0).tokens() == 0u);
  test_cluster::wait_for([&] { return "a plan from tokens of both homes" + told(all); },
                         [&] {
                           for (size_t home : {0u, 1u})
                             BOOST_TEST(all.logits(home, some_tokens(50)).ok());
                           auto note =
                               all.placement(0).planning.note + all.placement(1).planning.note;
                           return note.find("from tokens of 2 homes") != std::string::npos;
                         });
}

BOOST_AUTO_TEST_CASE(two_homes_do_not_count_on_the_same_memory_of_a_third) {
  auto tokens = some_tokens(16);
  auto wanted = expected(tokens);
  auto how = quick(0.6);
  how.adjust = [adjust = how.adjust](size_t i, actors::node_config& c) {
    adjust(i, c);
    c.hosting.helper_only = i == 2;
  };
  how.start_all = false;
  test_cluster all(3, how);
  for (size_t i : {0, 1, 2})
    all.start(i);
  expel(all, 0, 1); // they do not know each other, so each plans for itself and the third
  expel(all, 1, 0);
  auto settled = [&] {
    auto third = all.placement(2).planning;
    BOOST_TEST(promised_by(all, 2) <= third.capacity_bytes);
    bool covered = true, refused = false, held = false;
    for (size_t i : {0, 1}) {
      auto p = all.placement(i);
      covered &= p.uncovered == 0 && p.wanted == 0 && !p.nodes.empty();
      refused |= p.planning.note.find("bytes free") != std::string::npos;
      held |= p.planning.state == "holds" && p.planning.plan.epoch > 0;
    }
    return covered && refused && held && third.promised.size() == 1;
  };
  test_cluster::wait_for([&] { return "one home to have its memory and one not" + told(all); },
                         settled);
  for (size_t i : {0, 1}) {
    auto got = all.logits(i, tokens);
    BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
    BOOST_TEST(distance(*got, wanted) < same);
  }
}

BOOST_AUTO_TEST_SUITE_END()
