// Nodes die, come back and join while requests run: no request is lost and no answer is wrong.
#include "tests/cluster/answers.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <thread>

using namespace coel;
using namespace coel::testing;

namespace {

/// Asks node 0 for logits again and again until stopped, and compares each answer.
class steady_load {
 public:
  steady_load(test_cluster& cluster, std::vector<int32_t> tokens)
      : cluster_(cluster), tokens_(std::move(tokens)), expected_(*cluster.logits(0, tokens_)),
        thread_([this] { run(); }) {}
  ~steady_load() { stop(); }

  void stop() {
    stopping_ = true;
    if (thread_.joinable())
      thread_.join();
  }
  /// Waits until so many more answers have come.
  void answer(size_t more) {
    size_t until = answers_ + more;
    test_cluster::wait_for(
        [&] { return "answers; failures so far: " + std::to_string(failures_) + " " + why_; },
        [&] { return answers_ >= until || failures_; });
  }
  size_t answers() const { return answers_; }
  size_t failures() const { return failures_; }
  size_t wrong() const { return wrong_; }
  const std::string& why() const { return why_; }

 private:
  void run() {
    while (!stopping_ && !failures_) {
      auto got = cluster_.logits(0, tokens_);
      if (!got) {
        why_ = got.err().message;
        ++failures_;
        continue;
      }
      bool same = got->size() == expected_.size() && distance(*got, expected_) < 0.02;
      wrong_ += !same; // the demo model is Q8_0: see exact_test
      ++answers_;
    }
  }

  test_cluster& cluster_;
  std::vector<int32_t> tokens_;
  std::vector<float> expected_;
  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> answers_ = 0, failures_ = 0, wrong_ = 0;
  std::string why_;
  std::thread thread_;
};

void require_good(steady_load& load) {
  load.stop();
  BOOST_TEST(load.failures() == 0u, load.why());
  BOOST_TEST(load.wrong() == 0u);
}

} // namespace

BOOST_AUTO_TEST_SUITE(alive)

BOOST_AUTO_TEST_CASE(a_node_dies_and_comes_back_while_requests_run) {
  for (double share :
       {0.8, 0.5}) // with a replica of everything; with some experts to be loaded anew
    BOOST_TEST_CONTEXT("each node holds " << share) {
      node_options how;
      how.share = share;
      test_cluster cluster(3, how);
      cluster.settle();
      steady_load load(cluster, some_tokens(24));
      load.answer(3);
      cluster.kill(2);
      load.answer(5);
      cluster.start(2);
      cluster.settle();
      load.answer(3);
      cluster.kill(1);
      load.answer(5);
      require_good(load);
    }
}

BOOST_AUTO_TEST_CASE(a_node_joins_while_requests_run_and_is_used) {
  node_options how;
  how.share = 0.55;
  test_cluster cluster(3, how);
  cluster.kill(2);
  cluster.settle();
  steady_load load(cluster, some_tokens(24));
  load.answer(2);
  cluster.start(2);
  cluster.settle();
  load.answer(3);
  require_good(load);
  auto p = cluster.placement(0);
  BOOST_TEST(p.nodes.size() == 3u);
  for (const auto& n : p.nodes)
    BOOST_TEST(n.holds.count() > 0u, n.name);
}

BOOST_AUTO_TEST_CASE(without_a_holder_a_request_fails_with_a_reason_or_waits_for_one) {
  node_options how;
  how.share = 0.4; // two nodes cannot hold everything
  how.missing_patience = std::chrono::milliseconds(1500);
  how.adjust = [](size_t, actors::node_config& c) {
    c.hosting.pool_share = 0; // else what is missing is read
  };
  test_cluster cluster(3, how);
  cluster.settle();
  auto tokens = some_tokens(8);
  auto expected = cluster.logits(0, tokens);
  BOOST_REQUIRE(expected.ok());
  cluster.kill(1);
  auto refused = cluster.logits(0, tokens);
  BOOST_REQUIRE(!refused.ok());
  BOOST_TEST((refused.err().code == ec::expert_not_here));
  BOOST_TEST(refused.err().message.find("no node holds expert") != std::string::npos,
             refused.err().message);
  cluster.start(1);
  cluster.settle();
  BOOST_TEST(cluster.logits(0, tokens).ok());
}

BOOST_AUTO_TEST_SUITE_END()
