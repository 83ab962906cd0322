// Nodes whose memory together does not hold a model: homes read the rest from their disks, and the
// answers are those of one node that holds everything.
#include "actors/tiering.hpp"
#include "tests/actors/sentence.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/slow_device.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <future>

using namespace coel;
using namespace coel::testing;
using actors::test::written;
using namespace std::chrono_literals;

namespace {

constexpr size_t some_length = 120;

node_options with_share(double share, policy::plan_shape shape = policy::plan_shape::horizontal) {
  node_options how;
  how.model = demo_model_f16();
  how.share = share;
  how.adjust = [=](size_t, actors::node_config& c) {
    c.cluster->planning.shape = shape;
    c.cluster->planning.settle = 200ms;
  };
  return how;
}

std::future<result<std::vector<int32_t>>> write(test_cluster& cluster, size_t home,
                                                const std::vector<int32_t>& prompt,
                                                std::function<void(size_t)> at_token = {}) {
  return actors::test::write(cluster.system(home), cluster.model(home).scheduler, prompt,
                             some_length, std::move(at_token));
}

/// What one node with all experts in memory makes of it.
struct undisturbed {
  std::vector<int32_t> prompt = some_tokens(30);
  std::vector<int32_t> sentence;
  std::vector<float> logits;

  undisturbed() {
    test_cluster one(1, with_share(1));
    one.settle();
    sentence = written(write(one, 0, prompt));
    logits = must(one.logits(0, prompt));
  }
};

const undisturbed& alone() {
  static const undisturbed made;
  return made;
}

actors::tiering_status pool_of(test_cluster& cluster, size_t i) {
  caf::scoped_actor self{cluster.system(i)};
  actors::tiering_status out;
  const auto& pool = cluster.model(i).model->pool;
  BOOST_REQUIRE(pool != nullptr);
  if (pool->supplier)
    self->request(pool->supplier, 5s, actors::atom::details::value)
        .receive([&](actors::tiering_status& s) { out = s; }, [](caf::error&) {});
  return out;
}

std::string told(test_cluster& cluster, size_t i) {
  auto p = cluster.placement(i);
  return "; node " + std::to_string(i) + ": left " + std::to_string(p.left) + ", pool " +
         std::to_string(p.pool_bytes) + ", uncovered " + std::to_string(p.uncovered) + ", wanted " +
         std::to_string(p.wanted) + ", loading " + std::to_string(p.loading) + ", holds " +
         std::to_string(p.nodes.empty() ? 0 : p.nodes.front().holds.count()) + " of room for " +
         std::to_string(p.nodes.empty() ? 0 : p.nodes.front().room) + ", " + p.planning.note;
}

/// Every running node of these has a pool for what no node holds, and a plan for the rest.
void settle_with_pools(test_cluster& cluster, const std::vector<size_t>& running) {
  for (auto i : running)
    test_cluster::wait_for([&] { return "pools" + told(cluster, i) + cluster.links(i); },
                           [&] {
                             auto p = cluster.placement(i);
                             return p.pool_bytes > 0 && p.left > 0 && p.uncovered == 0 &&
                                    p.wanted == 0 && p.loading == 0 && p.planning.plan.epoch > 0;
                           });
}

} // namespace

BOOST_AUTO_TEST_SUITE(pools)

BOOST_AUTO_TEST_CASE(two_nodes_with_half_of_the_memory_answer_as_one_with_all) {
  const auto& expected = alone();
  test_cluster cluster(2, with_share(0.25));
  cluster.settle();
  settle_with_pools(cluster, {0, 1});
  for (size_t home : {0u, 1u}) {
    BOOST_TEST(distance(must(cluster.logits(home, expected.prompt)), expected.logits) < 1e-4);
    BOOST_TEST(written(write(cluster, home, expected.prompt)) == expected.sentence,
               boost::test_tools::per_element());
    auto rows = cluster.network(home);
    BOOST_TEST(rows.rows_read > 0u);
    BOOST_TEST(rows.rows_here > 0u);
    auto pool = pool_of(cluster, home);
    BOOST_TEST(pool.cache_used_bytes <= pool.cache_bytes);
    BOOST_TEST(pool.cache_bytes == cluster.placement(home).pool_bytes);
    BOOST_TEST(pool.tokens > 0u);
  }
  // All leave the same experts to the disks.
  auto plan = cluster.placement(0).planning.plan;
  BOOST_TEST((plan.shares == cluster.placement(1).planning.plan.shares));
  BOOST_TEST(plan.why.find("homes read") != std::string::npos, plan.why);
}

BOOST_AUTO_TEST_CASE(memory_stays_within_the_promise) {
  test_cluster cluster(2, with_share(0.3));
  cluster.settle();
  settle_with_pools(cluster, {0, 1});
  (void)written(write(cluster, 0, alone().prompt));
  for (size_t i : {0u, 1u}) {
    auto p = cluster.placement(i);
    const auto& m = *cluster.model(i).model;
    uint64_t held = 0;
    for (const auto& e : cluster.model(i).experts) {
      caf::scoped_actor self{cluster.system(i)};
      self->request(e, 5s, actors::atom::details::value)
          .receive([&](const actors::expert_status& s) { held += s.bytes; }, [](caf::error&) {});
    }
    auto all = memory_for(demo_model_f16(), 0.3);
    auto none = memory_for(demo_model_f16(), 0); // but for an expert or two
    BOOST_TEST(held + p.pool_bytes + m.pool->plan.staging_bytes + m.pool->plan.process_bytes <=
               all - none + 2 * m.pool->needs.expert_bytes);
  }
}

BOOST_AUTO_TEST_CASE(a_peer_dies_in_mid_sentence_and_its_experts_are_read) {
  const auto& expected = alone();
  for (double share :
       {0.35, 0.6}) // with pools before; with memory enough as long as both are there
    BOOST_TEST_CONTEXT("each node has " << share) {
      auto how = with_share(share);
      how.missing_patience =
          90s; // what every token uses moves first; a busy machine takes its time
      test_cluster cluster(2, how);
      cluster.settle();
      if (share < 0.5)
        settle_with_pools(cluster, {0, 1});
      std::promise<void> reached;
      auto outcome = write(cluster, 0, expected.prompt, [&](size_t n) {
        if (n == 20)
          reached.set_value();
      });
      BOOST_REQUIRE(reached.get_future().wait_for(60s) == std::future_status::ready);
      cluster.kill(1);
      BOOST_REQUIRE_MESSAGE(outcome.wait_for(90s) == std::future_status::ready,
                            "no answer in 90 s" << told(cluster, 0));
      BOOST_TEST(written(std::move(outcome)) == expected.sentence,
                 boost::test_tools::per_element());
      BOOST_TEST(cluster.network(0).rows_read > 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_node_with_memory_for_all_joins_and_nothing_is_read_any_more) {
  const auto& expected = alone();
  auto how = with_share(0.3);
  auto adjust = how.adjust;
  how.adjust = [adjust](size_t i, actors::node_config& c) {
    adjust(i, c);
    if (i == 2)
      c.ram_bytes = memory_for(demo_model_f16(), 1.1);
  };
  how.start_all = false;
  test_cluster cluster(3, how);
  cluster.start(0);
  cluster.start(1);
  settle_with_pools(cluster, {0, 1});
  BOOST_TEST(written(write(cluster, 0, expected.prompt)) == expected.sentence,
             boost::test_tools::per_element());
  cluster.start(2);
  cluster.settle();
  for (size_t i : {0u, 1u})
    test_cluster::wait_for([&] { return "no more pool" + told(cluster, i); },
                           [&] {
                             auto p = cluster.placement(i);
                             return p.pool_bytes == 0 && p.left == 0 && p.uncovered == 0 &&
                                    p.wanted == 0 && p.loading == 0;
                           });
  BOOST_TEST(pool_of(cluster, 0).cache_used_bytes == 0u);
  auto rows = cluster.network(0).rows_read;
  auto bytes = pool_of(cluster, 0).read_bytes;
  BOOST_TEST(written(write(cluster, 0, expected.prompt)) == expected.sentence,
             boost::test_tools::per_element());
  BOOST_TEST(cluster.network(0).rows_read == rows);
  BOOST_TEST(pool_of(cluster, 0).read_bytes == bytes);
}

BOOST_AUTO_TEST_CASE(what_a_slow_peer_holds_is_read_instead) {
  const auto& expected = alone();
  auto delay = std::make_shared<std::atomic<uint32_t>>(0);
  auto how = with_share(0.3);
  how.device = [=](size_t i, compute::device_ptr real) -> compute::device_ptr {
    return i == 1 ? std::make_shared<slow_device>(std::move(real), delay) : std::move(real);
  };
  test_cluster cluster(2, how);
  cluster.settle();
  settle_with_pools(cluster, {0, 1});
  (void)written(write(cluster, 0, expected.prompt)); // what a read takes is known then
  *delay = 50'000;
  BOOST_TEST(written(write(cluster, 0, expected.prompt)) == expected.sentence,
             boost::test_tools::per_element());
  // What every token uses is never read; now and then the peer is asked whether it is still slow,
  // and a plan may move things meanwhile.
  bool left = false;
  for (int sentence = 0; sentence < 6 && !left; ++sentence) {
    auto before = cluster.network(0);
    BOOST_TEST(written(write(cluster, 0, expected.prompt)) == expected.sentence,
               boost::test_tools::per_element());
    auto after = cluster.network(0);
    auto p = cluster.placement(0);
    const auto& m = *cluster.model(0).model;
    uint64_t slices = 0;
    for (size_t i = 0; i < p.nodes[1].holds.size(); ++i)
      slices += i % m.experts_per_layer >= m.config().experts && !p.nodes[0].holds.test(i) &&
                p.nodes[1].holds.test(i);
    auto away = after.rows_away - before.rows_away;
    auto must = slices * (expected.prompt.size() + some_length);
    left = after.rows_read > before.rows_read &&
           (away - std::min(away, must)) * 20 <
               after.rows_here + after.rows_read - before.rows_here - before.rows_read;
  }
  BOOST_TEST(left);
}

BOOST_AUTO_TEST_CASE(layers_of_neighbours_are_read_for_too) {
  const auto& expected = alone();
  test_cluster cluster(2, with_share(0.4, policy::plan_shape::stages));
  cluster.settle();
  settle_with_pools(cluster, {0, 1});
  for (size_t home : {0u, 1u}) {
    BOOST_TEST(distance(must(cluster.logits(home, expected.prompt)), expected.logits) < 1e-4);
    BOOST_TEST(written(write(cluster, home, expected.prompt)) == expected.sentence,
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(where_nobody_may_read_rows_wait_for_a_node) {
  auto how = with_share(0.3);
  auto adjust = how.adjust;
  how.missing_patience = 500ms;
  how.adjust = [adjust](size_t i, actors::node_config& c) {
    adjust(i, c);
    c.hosting.pool_share = 0;
  };
  test_cluster cluster(2, how);
  test_cluster::wait_for([&] { return "two nodes" + cluster.links(0); },
                         [&] {
                           auto p = cluster.placement(0);
                           return p.nodes.size() == 2 && p.nodes[1].up;
                         });
  auto got = cluster.logits(0, some_tokens(30));
  BOOST_REQUIRE(!got.ok());
  BOOST_TEST((got.err().code == ec::expert_not_here));
}

BOOST_AUTO_TEST_SUITE_END()
