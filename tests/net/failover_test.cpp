// An answer whose node is lost goes on at another one, without a token twice or missing.
#include "net/app_nodes.hpp"
#include "tests/net/fake_node.hpp"
#include "tests/net/tcp_relay.hpp"

#include <boost/test/unit_test.hpp>

#include <functional>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;

namespace {

constexpr auto silence = misfortune::kind::silence;
constexpr auto ends_work = misfortune::kind::shutdown;
constexpr auto only_helps = misfortune::kind::helper;
const std::string sentence = "the home dies";

struct outcome {
  std::string text;
  size_t tokens = 0;
  std::optional<done_reply> done;
  std::optional<error> failure;
};

using watcher = std::function<void(const outcome& so_far)>;

/// Asks and collects; `watch` is called before each wait and may do harm.
outcome answered(app_nodes& nodes, const generate_request& request, const watcher& watch = {}) {
  outcome out;
  nodes.begin(request);
  for (int i = 0; i < 1000 && !out.done && !out.failure; ++i) {
    auto came = nodes.next(100ms);
    if (!came.ok()) {
      out.failure = came.err();
    } else if (came->has_value()) {
      if (auto* token = std::get_if<token_reply>(&**came)) {
        out.text += token->text;
        ++out.tokens;
      } else {
        out.done = std::get<done_reply>(**came);
      }
    }
    if (watch)
      watch(out);
  }
  return out;
}

generate_request prompt(std::string text) {
  generate_request request;
  request.prompt = std::move(text);
  return request;
}

/// Nodes in a folder of their own.
struct nodes_at_hand {
  scratch_folder folder;
  std::vector<std::unique_ptr<fake_node>> all;

  std::string path(size_t i) const {
    return "ipc://" + (folder.path() / (std::to_string(i) + ".sock")).string();
  }
  fake_node& add(misfortune fate = {}) {
    app_server_options options;
    options.endpoints = {path(all.size())};
    return *all.emplace_back(std::make_unique<fake_node>(options, fate));
  }
  app_nodes connected() const {
    std::vector<app_client_options> to;
    for (size_t i = 0; i < all.size(); ++i)
      to.push_back({path(i), {}, {}, 5s});
    auto made = app_nodes::connect(to);
    BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
    return std::move(*made);
  }
};

std::vector<generate_request> asked(fake_node& node) {
  std::vector<generate_request> out;
  node.eventually([&] {
    out = node.asked;
    return true;
  });
  return out;
}

void check_whole(const outcome& got) {
  BOOST_REQUIRE_MESSAGE(got.done.has_value(), (got.failure ? to_string(*got.failure) : "no end"));
  BOOST_TEST(got.text == sentence);
  BOOST_TEST(got.tokens == sentence.size());
  BOOST_TEST(got.done->answer_tokens == sentence.size());
  BOOST_TEST((got.done->reason == finish_reason::end));
}

std::string first_bytes(const std::vector<int32_t>& tokens) {
  return {tokens.begin(), tokens.end()};
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(failover, nodes_at_hand)

BOOST_AUTO_TEST_CASE(a_node_that_dies_after_any_token_is_replaced) {
  for (size_t n = 0; n <= sentence.size(); ++n) {
    nodes_at_hand here;
    auto& first = here.add({n, silence});
    auto& second = here.add();
    auto nodes = here.connected();
    std::vector<generate_request> before;
    auto got = answered(nodes, prompt(sentence), [&](const outcome& so_far) {
      if (here.all[0] == nullptr || so_far.tokens < n)
        return;
      BOOST_REQUIRE(first.eventually([&] { return first.waiting.size() == 1; }));
      before = asked(first);
      here.all[0].reset();
    });
    BOOST_TEST_CONTEXT("after " << n) {
      check_whole(got);
      auto again = asked(second);
      BOOST_REQUIRE(again.size() == 1u);
      BOOST_TEST(first_bytes(again[0].answered) == sentence.substr(0, n));
      BOOST_TEST(again[0].max_tokens == 256 - n);
      BOOST_TEST(again[0].prompt == sentence);
      BOOST_REQUIRE(before.size() == 1u);
      BOOST_TEST(before[0].sampling.seed != 0u); // given by the client, and the same at both
      BOOST_TEST(again[0].sampling.seed == before[0].sampling.seed);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_node_that_shuts_down_is_left_before_and_in_an_answer) {
  for (size_t n : {size_t{0}, size_t{1}, size_t{5}, sentence.size()}) {
    nodes_at_hand here;
    here.add({n, ends_work});
    here.add();
    auto nodes = here.connected();
    check_whole(answered(nodes, prompt(sentence)));
    check_whole(answered(nodes, prompt(sentence))); // and the next answer comes from the second
    BOOST_TEST(asked(*here.all[0]).size() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(a_helper_sends_the_request_to_the_next_node) {
  add({0, only_helps});
  auto& home = add();
  auto nodes = connected();
  check_whole(answered(nodes, prompt(sentence)));
  BOOST_TEST(asked(home).size() == 1u);
  BOOST_TEST(asked(home)[0].answered.empty());
}

BOOST_AUTO_TEST_CASE(a_helper_alone_is_the_reason) {
  add({0, only_helps});
  auto nodes = connected();
  auto got = answered(nodes, prompt(sentence));
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST(to_string(got.failure->code) == "helper_only");
  BOOST_TEST(got.failure->message.find("ask attic") != std::string::npos, got.failure->message);
}

BOOST_AUTO_TEST_CASE(a_node_that_falls_silent_is_left) {
  app_server_options tcp;
  tcp.endpoints = {"tcp://127.0.0.1:*"};
  fake_node silent(tcp, {4, silence}), healthy(tcp);
  tcp_relay wire(silent.endpoint());
  auto nodes =
      app_nodes::connect({{wire.endpoint(), {}, {}, 5s}, {healthy.endpoint(), {}, {}, 5s}});
  BOOST_REQUIRE(nodes.ok());
  check_whole(answered(*nodes, prompt(sentence), [&](const outcome& so_far) {
    if (so_far.tokens == 4)
      wire.fall_silent();
  }));
}

BOOST_AUTO_TEST_CASE(a_silent_node_is_not_lost_while_it_answers_heartbeats) {
  auto& slow = add({4, silence});
  add();
  std::vector<app_client_options> to{{path(0), {}, {}, 5s}, {path(1), {}, {}, 5s}};
  to[0].lost_after = 400ms;
  auto nodes = app_nodes::connect(to);
  BOOST_REQUIRE(nodes.ok());
  nodes->begin(prompt(sentence));
  size_t tokens = 0;
  for (int quiet = 0; quiet < 8;) { // twice the time
    auto came = nodes->next(100ms);
    BOOST_REQUIRE(came.ok());
    tokens += came->has_value();
    quiet += !came->has_value();
  }
  BOOST_TEST(tokens == 4u);
  BOOST_TEST(slow.eventually([&] { return slow.waiting.size() == 1 && slow.gone == 0; }));
}

BOOST_AUTO_TEST_CASE(the_only_node_is_asked_again_when_the_connection_breaks) {
  app_server_options tcp;
  tcp.endpoints = {"tcp://127.0.0.1:*"};
  fake_node node(tcp, {5, silence});
  tcp_relay wire(node.endpoint());
  auto nodes = app_nodes::connect({{wire.endpoint(), {}, {}, 5s}});
  BOOST_REQUIRE(nodes.ok());
  size_t next_cut = 5;
  check_whole(answered(*nodes, prompt(sentence), [&](const outcome& so_far) {
    if (so_far.tokens != next_cut)
      return;
    wire.cut();
    next_cut += 5;
  }));
  BOOST_TEST(next_cut == 15u);
}

BOOST_AUTO_TEST_CASE(each_node_is_tried_twice_and_the_error_names_all) {
  add({0, ends_work});
  add({0, ends_work});
  auto nodes = connected();
  auto got = answered(nodes, prompt(sentence));
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST((got.failure->code == ec::shutting_down));
  for (size_t i = 0; i < 2; ++i) {
    BOOST_TEST(asked(*all[i]).size() == 2u);
    BOOST_TEST(got.failure->message.find(path(i)) != std::string::npos, got.failure->message);
  }
  BOOST_TEST(got.failure->message.find("the fake node shuts down") != std::string::npos);
  answered(nodes, prompt(sentence)); // a new answer has new tries
  BOOST_TEST(asked(*all[0]).size() + asked(*all[1]).size() == 8u);
}

BOOST_AUTO_TEST_CASE(every_token_gives_all_nodes_their_tries_again) {
  add({1, ends_work});
  add({1, ends_work});
  auto nodes = connected();
  auto got = answered(nodes, prompt(sentence));
  // after the last token the end is asked for, without a token to gain
  BOOST_TEST(got.text == sentence);
  BOOST_REQUIRE(got.done.has_value());
  BOOST_TEST(got.done->answer_tokens == sentence.size());
}

BOOST_AUTO_TEST_CASE(what_a_node_refuses_is_not_asked_elsewhere) {
  add();
  add();
  auto nodes = connected();
  auto got = answered(nodes, prompt("fail"));
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST((got.failure->code == ec::busy));
  BOOST_TEST(asked(*all[0]).size() == 1u);
  BOOST_TEST(asked(*all[1]).empty());
}

BOOST_AUTO_TEST_CASE(a_cancelled_answer_is_not_taken_elsewhere) {
  add({3, silence});
  auto& second = add();
  auto nodes = connected();
  auto got = answered(nodes, prompt(sentence), [&](const outcome& so_far) {
    if (so_far.tokens < 3 || all[0] == nullptr)
      return;
    all[0].reset();
    nodes.cancel();
  });
  BOOST_REQUIRE(got.done.has_value());
  BOOST_TEST((got.done->reason == finish_reason::cancelled));
  BOOST_TEST(got.done->answer_tokens == 3u);
  BOOST_TEST(asked(second).empty());
  check_whole(answered(nodes, prompt(sentence))); // the next answer is
}

BOOST_AUTO_TEST_CASE(an_answer_in_one_piece_is_asked_anew) {
  auto& first = add({5, silence});
  add();
  auto nodes = connected();
  auto request = prompt(sentence);
  request.stream = false;
  auto got = answered(nodes, request, [&](const outcome&) {
    if (all[0] != nullptr && first.eventually([&] { return first.waiting.size() == 1; }))
      all[0].reset();
  });
  BOOST_REQUIRE((got.done && got.done->answer));
  BOOST_TEST(got.done->answer->text == sentence);
}

BOOST_AUTO_TEST_CASE(nobody_is_named_one_by_one) {
  auto nodes = app_nodes::connect({{path(0), {}, {}, 5s}, {path(1), {}, {}, 5s}});
  BOOST_REQUIRE(!nodes.ok());
  BOOST_TEST((nodes.err().code == ec::io));
  for (size_t i = 0; i < 2; ++i)
    BOOST_TEST(nodes.err().message.find(path(i)) != std::string::npos, nodes.err().message);
  auto malformed = app_nodes::connect({{path(0), {}, {}, 5s}, {"nonsense", {}, {}, 5s}});
  BOOST_REQUIRE(!malformed.ok());
  BOOST_TEST((malformed.err().code == ec::bad_argument));
}

BOOST_AUTO_TEST_SUITE_END()
