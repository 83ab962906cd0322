// Sessions decoded at another home than where they came in: the same answer, whatever happens to
// that home.
#include "actors/errors.hpp"
#include "actors/session.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/slow_device.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <span>
#include <thread>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;

namespace {

/// What came of one request.
class answer {
 public:
  void take(const app_reply& reply) {
    std::lock_guard lock(mutex_);
    if (const auto* token = std::get_if<token_reply>(&reply)) {
      if (token->id >= 0)
        tokens_.push_back(token->id);
      text_ += token->text;
    } else {
      last_ = reply;
    }
    changed_.notify_all();
  }
  void wait_for_tokens(size_t n) {
    wait([&] { return tokens_.size() >= n; }, "tokens");
  }
  app_reply wait_for_end() {
    wait([&] { return last_.has_value(); }, "an end");
    return *last_;
  }
  bool ended() {
    std::lock_guard lock(mutex_);
    return last_.has_value();
  }
  std::vector<int32_t> tokens() {
    std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::string text() {
    std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  template <class Holds>
  void wait(Holds holds, const char* what) {
    std::unique_lock lock(mutex_);
    BOOST_REQUIRE_MESSAGE(changed_.wait_for(lock, 60s, holds), "there never were " << what);
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int32_t> tokens_;
  std::string text_;
  std::optional<app_reply> last_;
};
using answer_ptr = std::shared_ptr<answer>;

struct asked {
  answer_ptr said = std::make_shared<answer>();
  actors::session_actor session;
};

/// A request at node i as its application socket would open it.
asked ask(test_cluster& all, size_t i, std::vector<int32_t> tokens, uint32_t answer_tokens,
          bool may_move = true) {
  generate_request r;
  r.tokens = std::move(tokens);
  r.max_tokens = answer_tokens;
  r.ignore_end = true;
  r.sampling.temperature = 0;
  r.sampling.seed = 7;
  asked out;
  actors::session_config c;
  c.models = all.node(i).registry();
  c.call = {0, 1, std::make_shared<const app_request>(r)};
  c.model = all.model(i).model;
  c.scheduler = all.model(i).scheduler;
  c.answers = all.system(i).spawn([said = out.said]() -> actors::answer_sink::behavior_type {
    return {[said](const actors::app_answer& a) { said->take(*a.reply); }};
  });
  if (may_move)
    c.homes = all.node(i).neighbours()->updater();
  out.session = all.system(i).spawn(actors::session, std::move(c));
  return out;
}

struct world {
  delay_ptr delay = std::make_shared<std::atomic<uint32_t>>(0);
  test_cluster all{2, how()};

  node_options how() {
    node_options o;
    o.adjust = [](size_t, actors::node_config& c) {
      c.cluster->planning.settle = 200ms;
      c.cluster->planning.every = 500ms;
    };
    o.device = [d = delay](size_t i, compute::device_ptr real) -> compute::device_ptr {
      return i == 0 ? std::make_shared<slow_device>(std::move(real), d) : real;
    };
    return o;
  }

  /// Node 0 is slow, and both know how fast they are.
  world() {
    all.settle();
    *delay = 3000;
    for (int n = 0; n < 3; ++n)
      for (size_t i : {0, 1}) {
        auto one = ask(all, i, some_tokens(4, n), 12, false);
        one.said->wait_for_end();
      }
    test_cluster::wait_for([] { return "a session to move"; },
                           [&] {
                             auto probe = ask(all, 0, some_tokens(8), 60);
                             probe.said->wait_for_end();
                             return moved() > 0;
                           });
  }

  uint64_t moved() { return all.placement(0).planning.sessions_sent; }

  /// A request at node 0 that is decoded at node 1. One that has just been sent there keeps others
  /// from it for a while, so that may take several.
  asked ask_and_move(std::vector<int32_t> tokens, uint32_t answer_tokens) {
    asked out;
    test_cluster::wait_for([] { return "a session to be at node 1"; },
                           [&] {
                             out = ask(all, 0, tokens, answer_tokens);
                             while (!out.said->ended()) {
                               if (running(1) == 1)
                                 return true;
                               std::this_thread::sleep_for(5ms);
                             }
                             return false;
                           });
    return out;
  }

  size_t running(size_t i) {
    caf::scoped_actor self{all.system(i)};
    size_t n = 0;
    self->request(all.model(i).scheduler, 5s, actors::atom::details::value)
        .receive([&](const actors::scheduler_status& s) { n = s.sessions.size(); },
                 [](caf::error& why) { BOOST_FAIL(actors::from_caf(why).message); });
    return n;
  }

  /// Every token is the likeliest after those before it, as node 0 has it now, or nearly: nodes
  /// that share work add up in another order, and activations are rounded to 8 bits.
  void check_greedy(const std::vector<int32_t>& tokens, const std::vector<int32_t>& answered) {
    constexpr float nearly = 0.3f;
    auto whole = tokens;
    whole.insert(whole.end(), answered.begin(), answered.end());
    auto logits = all.logits(0, whole);
    BOOST_REQUIRE(logits.ok());
    size_t vocab = logits->size() / whole.size();
    for (size_t i = tokens.size(); i < whole.size(); ++i) {
      auto row = std::span(*logits).subspan((i - 1) * vocab, vocab);
      BOOST_TEST(row[static_cast<size_t>(whole[i])] > *std::ranges::max_element(row) - nearly,
                 "token " << i - tokens.size() << " of the answer");
    }
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(homing, world)

BOOST_AUTO_TEST_CASE(a_session_moves_to_the_faster_home_and_answers_the_same) {
  auto before = moved();
  auto got = ask_and_move(some_tokens(40), 60);
  auto last = got.said->wait_for_end();
  BOOST_REQUIRE(std::holds_alternative<done_reply>(last));
  auto done = std::get<done_reply>(last);
  BOOST_TEST((done.reason == finish_reason::length));
  BOOST_TEST(done.prompt_tokens == 40u);
  BOOST_TEST(done.answer_tokens == 60u);
  BOOST_TEST(done.seed == 7u);
  BOOST_TEST(got.said->tokens().size() == 60u);
  BOOST_TEST(moved() > before);
  check_greedy(some_tokens(40), got.said->tokens());
  BOOST_TEST(got.said->text() == all.model(0).model->tokenizer->decode(got.said->tokens()));
  test_cluster::wait_for([] { return "no session to be left"; },
                         [&] { return running(0) + running(1) == 0; });
}

BOOST_AUTO_TEST_CASE(a_long_prompt_moves_before_it_is_through) {
  auto got = ask_and_move(some_tokens(300), 40);
  got.said->wait_for_end();
  BOOST_TEST(got.said->tokens().size() == 40u);
  check_greedy(some_tokens(300), got.said->tokens());
}

BOOST_AUTO_TEST_CASE(a_session_comes_back_when_its_home_is_killed) {
  auto got = ask_and_move(some_tokens(40), 150);
  got.said->wait_for_tokens(5);
  *delay = 0;
  all.kill(1);
  auto last = got.said->wait_for_end();
  BOOST_REQUIRE(std::holds_alternative<done_reply>(last));
  BOOST_TEST(std::get<done_reply>(last).answer_tokens == 150u);
  BOOST_TEST(got.said->tokens().size() == 150u);
  check_greedy(some_tokens(40), got.said->tokens());
  test_cluster::wait_for([] { return "no session to be left"; }, [&] { return running(0) == 0; });
}

BOOST_AUTO_TEST_CASE(what_is_cancelled_ends_at_its_home_too) {
  auto got = ask_and_move(some_tokens(40), 400);
  caf::anon_send(got.session, actors::atom::cancel::value);
  auto last = got.said->wait_for_end();
  BOOST_REQUIRE(std::holds_alternative<done_reply>(last));
  BOOST_TEST((std::get<done_reply>(last).reason == finish_reason::cancelled));
  test_cluster::wait_for([] { return "no session to be left at node 1"; },
                         [&] { return running(1) == 0; });
}

BOOST_AUTO_TEST_CASE(a_home_that_says_goodbye_gives_its_guests_back) {
  auto got = ask_and_move(some_tokens(40), 150);
  *delay = 0;
  caf::anon_send(all.node(1).neighbours()->perception(), actors::atom::leave::value,
                 std::string("stopped"));
  auto last = got.said->wait_for_end();
  BOOST_REQUIRE(std::holds_alternative<done_reply>(last));
  BOOST_TEST(got.said->tokens().size() == 150u);
  check_greedy(some_tokens(40), got.said->tokens());
}

BOOST_AUTO_TEST_SUITE_END()
