// A whole node on the demo model, asked through its socket as an app would.
#include "actors/node.hpp"
#include "cpu/device.hpp"
#include "model/runner.hpp"
#include "model/sampler.hpp"
#include "net/app_client.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <unistd.h>

using namespace coel;
using namespace std::chrono_literals;

namespace {

const std::filesystem::path demo_model =
    std::filesystem::path(COEL_SOURCE_DIR) / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf";

struct system_config : caf::actor_system_config {
  system_config() { actors::configure(*this); }
};

/// A node on a socket of its own.
struct fixture {
  system_config config;
  caf::actor_system system{config};
  compute::device_ptr device = *cpu::make_device({2, "", 0, false});
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-test-" + std::to_string(getpid()));
  std::unique_ptr<actors::node> node;

  fixture() { start({}); }
  ~fixture() {
    node.reset();
    std::filesystem::remove_all(folder);
  }

  void start(actors::node_config c) {
    node.reset();
    std::filesystem::create_directories(folder);
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    c.models = {{demo_model, "tiny"}};
    c.server.endpoints = {"ipc://" + (folder / "n.sock").string()};
    c.version = "test";
    auto made = actors::node::start(system, device, c);
    BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
    node = std::move(*made);
  }

  net::app_client client() {
    auto made = net::app_client::connect({node->endpoints().front(), {}, {}});
    BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
    return std::move(*made);
  }
};

struct answer {
  std::vector<int32_t> tokens;
  std::string text;
  std::optional<done_reply> done;
  std::optional<error> failure;
};

/// Replies until the last of request `id`.
answer collect(net::app_client& app, uint64_t id) {
  answer a;
  for (int i = 0; i < 100'000 && !a.done && !a.failure; ++i) {
    auto got = app.poll(20s);
    BOOST_REQUIRE(got.ok());
    BOOST_REQUIRE_MESSAGE(got->has_value(), "no reply in 20 s");
    if ((*got)->id != id)
      continue;
    if (auto* token = std::get_if<token_reply>(&(*got)->reply)) {
      if (token->id >= 0)
        a.tokens.push_back(token->id);
      a.text += token->text;
    } else if (auto* done = std::get_if<done_reply>(&(*got)->reply)) {
      a.done = *done;
    } else if (auto* failure = std::get_if<error>(&(*got)->reply)) {
      a.failure = *failure;
    }
  }
  return a;
}

generate_request greedy(std::string prompt, uint32_t n) {
  generate_request r;
  r.prompt = std::move(prompt);
  r.max_tokens = n;
  r.ignore_end = true;
  r.sampling.temperature = 0;
  return r;
}

answer ask(net::app_client& app, const app_request& r) {
  auto id = app.send(r);
  BOOST_REQUIRE(id.ok());
  return collect(app, *id);
}

std::vector<int32_t> plain_greedy(const compute::device_ptr& device, const std::string& prompt,
                                  uint32_t n) {
  auto source = *model::open_model(demo_model);
  auto tokens = (*model::make_tokenizer(source->vocabulary()))->encode(prompt, true, true);
  auto run = *model::runner::load(source, device, {256, 64, 16});
  std::vector<int32_t> out;
  for (auto logits = run->feed(tokens); out.size() < n;
       logits = run->feed(std::span(out).last(1))) {
    BOOST_REQUIRE(logits.ok());
    out.push_back(
        static_cast<int32_t>(std::max_element(logits->begin(), logits->end()) - logits->begin()));
  }
  return out;
}

const std::string story = "Once upon a time, there was a little girl named Lily. She";

} // namespace

BOOST_FIXTURE_TEST_SUITE(a_node, fixture)

BOOST_AUTO_TEST_CASE(answers_as_the_plain_loop_does) {
  auto app = client();
  auto got = ask(app, greedy(story, 40));
  BOOST_REQUIRE(got.done.has_value());
  BOOST_TEST((got.done->reason == finish_reason::length));
  BOOST_TEST(got.done->answer_tokens == 40u);
  BOOST_TEST((got.tokens == plain_greedy(device, story, 40)));
}

BOOST_AUTO_TEST_CASE(a_session_does_not_depend_on_the_others) {
  auto app = client();
  auto alone = ask(app, greedy(story, 30));
  std::vector<uint64_t> others;
  std::string long_prompt;
  for (int i = 0; i < 60; ++i)
    long_prompt += "The dog ran to the big tree. ";
  for (int i = 0; i < 12; ++i)
    others.push_back(*app.send(greedy(i % 3 ? "Tom saw a cat." : long_prompt, 40)));
  auto crowded = ask(app, greedy(story, 30));
  BOOST_TEST((alone.tokens == crowded.tokens));
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_answer) {
  auto app = client();
  auto r = greedy(story, 30);
  r.sampling.temperature = 1;
  r.sampling.seed = 42;
  BOOST_TEST((ask(app, r).tokens == ask(app, r).tokens));
}

BOOST_AUTO_TEST_CASE(a_stop_string_ends_the_answer_before_it) {
  auto app = client();
  auto whole = ask(app, greedy(story, 40));
  auto word = whole.text.substr(whole.text.size() / 2, 6);
  auto r = greedy(story, 40);
  r.sampling.stop = {word};
  auto got = ask(app, r);
  BOOST_REQUIRE(got.done.has_value());
  BOOST_TEST((got.done->reason == finish_reason::stop));
  BOOST_TEST(got.text == whole.text.substr(0, whole.text.find(word)));
}

BOOST_AUTO_TEST_CASE(cancel_ends_one_request_and_not_the_other) {
  auto app = client();
  auto long_one = greedy(story, 900);
  auto id = *app.send(long_one);
  BOOST_REQUIRE(app.cancel(id).ok());
  auto got = collect(app, id);
  BOOST_REQUIRE(got.done.has_value());
  BOOST_TEST((got.done->reason == finish_reason::cancelled || got.done->answer_tokens == 900u));
  BOOST_TEST(ask(app, greedy(story, 5)).tokens.size() == 5u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_with_a_reason) {
  auto app = client();
  struct wrong {
    app_request request;
    ec code;
  };
  auto too_long = greedy(story, 100'000);
  auto unknown = greedy(story, 5);
  unknown.model = "nobody";
  auto empty = greedy("", 5);
  auto odd = greedy(story, 5);
  odd.sampling.top_p = 7;
  auto outside = greedy("", 5);
  outside.tokens = {1, 999'999};
  for (const auto& w : {wrong{too_long, ec::too_long},
                        {unknown, ec::unknown_model},
                        {empty, ec::bad_argument},
                        {odd, ec::bad_argument},
                        {outside, ec::bad_argument}}) {
    auto got = ask(app, w.request);
    BOOST_REQUIRE(got.failure.has_value());
    BOOST_TEST(to_string(got.failure->code) == to_string(w.code));
    BOOST_TEST(!got.failure->message.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_deadline_ends_a_request) {
  auto app = client();
  auto r = greedy(story, 1000);
  r.deadline_ms = 1;
  std::string long_prompt;
  auto got = ask(app, r);
  BOOST_REQUIRE(got.done.has_value());
  BOOST_TEST((got.done->reason == finish_reason::deadline));
}

BOOST_AUTO_TEST_CASE(scores_are_log_probabilities) {
  auto app = client();
  score_request r;
  r.text = story;
  auto reply = app.ask(r, 20s);
  BOOST_REQUIRE(reply.ok());
  const auto& score = std::get<score_reply>(*reply);
  BOOST_REQUIRE_EQUAL(score.logprobs.size() + 1, score.tokens.size());
  auto source = *model::open_model(demo_model);
  auto run = *model::runner::load(source, device, {256, 64, 16});
  size_t i = 0;
  auto fed = run->feed_all(score.tokens, [&](uint32_t position, std::span<const float> logits) {
    if (position + 1 < score.tokens.size())
      BOOST_TEST(score.logprobs[i++] == model::log_probability(logits, score.tokens[position + 1]));
  });
  BOOST_TEST(fed.ok());
}

BOOST_AUTO_TEST_CASE(a_vanished_client_frees_its_sessions) {
  {
    auto app = client();
    for (int i = 0; i < 8; ++i)
      BOOST_REQUIRE(app.send(greedy(story, 1000)).ok());
  }
  auto app = client();
  for (int i = 0; i < 400; ++i) {
    auto reply = app.ask(inspect_request{"sessions", "", 0, 0}, 5s);
    BOOST_REQUIRE(reply.ok());
    if (nlohmann::json::parse(std::get<document_reply>(*reply).json)["sessions"].empty())
      return;
    std::this_thread::sleep_for(25ms);
  }
  BOOST_ERROR("sessions of a client that is gone still run");
}

BOOST_AUTO_TEST_CASE(the_inspector_tells_of_everything) {
  auto app = client();
  auto got = ask(app, greedy(story, 10));
  for (const char* what : {"status", "actors", "experts", "sessions", "memory", "metrics"}) {
    auto reply = app.ask(inspect_request{what, "", 0, 0}, 10s);
    BOOST_REQUIRE_MESSAGE(reply.ok(), what);
    BOOST_TEST(nlohmann::json::parse(std::get<document_reply>(*reply).json).is_object());
  }
  auto trace = app.ask(inspect_request{"trace", "", got.done->request, 0}, 10s);
  BOOST_REQUIRE(trace.ok());
  auto tokens = nlohmann::json::parse(std::get<document_reply>(*trace).json)["tokens"];
  BOOST_TEST(tokens.size() == 10u);
  BOOST_TEST(!app.ask(inspect_request{"nonsense", "", 0, 0}, 10s).ok());
  for (const char* what : {"cluster", "drain", "expel"}) {
    auto alone = app.ask(inspect_request{what, "", 0, 0, "n2"}, 10s);
    BOOST_REQUIRE(!alone.ok());
    BOOST_TEST(alone.err().message.find("stands alone") != std::string::npos, alone.err().message);
  }
}

BOOST_AUTO_TEST_CASE(draining_refuses_the_new_and_ends_the_running) {
  auto app = client();
  auto running = *app.send(greedy(story, 200));
  std::thread drain([&] { BOOST_TEST(node->drain(20s)); });
  auto got = collect(app, running);
  drain.join();
  BOOST_TEST((got.done.has_value() || got.failure->code == ec::shutting_down));
  auto late = ask(app, greedy(story, 5));
  BOOST_REQUIRE(late.failure.has_value());
  BOOST_TEST(to_string(late.failure->code) == "shutting_down");
}

BOOST_AUTO_TEST_CASE(a_budget_too_small_is_an_error_that_says_so) {
  actors::node_config c;
  c.models = {{demo_model, ""}};
  c.server.endpoints = {"ipc://" + (folder / "small.sock").string()};
  c.ram_bytes = 3 << 20;
  auto made = actors::node::start(system, device, c);
  BOOST_REQUIRE(!made.ok());
  BOOST_TEST(to_string(made.err().code) == "out_of_memory");
  BOOST_TEST(made.err().message.find("--ram") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
