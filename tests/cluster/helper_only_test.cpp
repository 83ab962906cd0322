// Nodes without room for KV hold and run experts for others, and send applications to those.
#include "net/app_nodes.hpp"
#include "tests/cluster/answers.hpp"
#include "tests/cluster/test_cluster.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <mutex>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;

namespace {

/// Events of the nodes that `with_helper` starts.
struct event_log {
  std::mutex mutex;
  std::vector<std::string> lines;

  bool has(const std::string& part) {
    std::lock_guard lock(mutex);
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }
};

/// `helper` is started with `change`; each node has room for a part of the experts.
node_options with_helper(size_t helper, const std::shared_ptr<event_log>& log,
                         const std::function<void(actors::node_config&)>& change) {
  node_options options;
  options.share = 0.75;
  options.adjust = [=](size_t i, actors::node_config& c) {
    if (i != helper)
      return;
    c.join.event = [log](const std::string& line) {
      std::lock_guard lock(log->mutex);
      log->lines.push_back(line);
    };
    change(c);
  };
  return options;
}

generate_request story(uint32_t tokens) {
  generate_request r;
  r.prompt = "Once upon a time, there was a little girl named Lily. She";
  r.max_tokens = tokens;
  r.ignore_end = true;
  r.sampling.temperature = 0;
  return r;
}

struct said {
  std::string text;
  std::optional<error> failure;
};

/// As an application with these endpoints, in this order.
said ask(const std::vector<std::string>& endpoints, const generate_request& r) {
  std::vector<net::app_client_options> nodes;
  for (const auto& e : endpoints)
    nodes.push_back({e, {}, {}});
  auto app = net::app_nodes::connect(std::move(nodes));
  BOOST_REQUIRE_MESSAGE(app.ok(), (app.ok() ? "" : app.err().message));
  app->begin(r);
  said out;
  for (;;) {
    auto got = app->next(20s);
    if (!got)
      return out.failure = got.err(), out;
    BOOST_REQUIRE_MESSAGE(got->has_value(), "no reply in 20 s");
    if (auto* token = std::get_if<token_reply>(&**got))
      out.text += token->text;
    else
      return out;
  }
}

std::string endpoint_of(test_cluster& all, size_t i) {
  return all.node(i).endpoints().front();
}

nlohmann::json status_of(test_cluster& all, size_t i) {
  auto app = net::app_client::connect({endpoint_of(all, i), {}, {}});
  BOOST_REQUIRE(app.ok());
  inspect_request r;
  r.what = "status";
  auto reply = app->ask(r, 20s);
  BOOST_REQUIRE_MESSAGE(reply.ok(), (reply.ok() ? "" : reply.err().message));
  return nlohmann::json::parse(std::get<document_reply>(*reply).json);
}

/// Node 2 of three is a helper: what it does and says.
void check_helper(test_cluster& all) {
  all.settle();
  const auto& hosted = all.model(2);
  BOOST_TEST(!hosted.scheduler);
  BOOST_TEST(hosted.model->dense.bytes == 0u); // the room is for experts

  auto mine = all.placement(2);
  BOOST_TEST(mine.nodes.front().helper);
  BOOST_TEST(mine.nodes.front().holds.count() > 0u);
  auto theirs = all.placement(0);
  for (const auto& n : theirs.nodes) {
    BOOST_TEST(n.helper == (n.name == "node2"), n.name);
    BOOST_TEST(n.home == (n.name != "node2"), n.name);
  }
  auto status = status_of(all, 2);
  BOOST_TEST(status["models"][0]["role"] == "helper");
  BOOST_TEST(!status["models"][0]["why"].get<std::string>().empty());
  BOOST_TEST(status_of(all, 0)["models"][0]["role"] == "home");

  auto refused = ask({endpoint_of(all, 2)}, story(8));
  BOOST_REQUIRE(refused.failure.has_value());
  BOOST_TEST(to_string(refused.failure->code) == "helper_only");
  for (size_t i : {0, 1}) {
    auto named = "node" + std::to_string(i) + " (" + endpoint_of(all, i) + ")";
    BOOST_TEST(refused.failure->message.find(named) != std::string::npos, refused.failure->message);
  }
  BOOST_TEST(refused.failure->message.find("node2") == std::string::npos, refused.failure->message);

  auto straight = ask({endpoint_of(all, 0)}, story(24));
  auto around = ask({endpoint_of(all, 2), endpoint_of(all, 0)}, story(24));
  BOOST_TEST(!straight.failure.has_value());
  BOOST_TEST(!around.failure.has_value());
  BOOST_TEST(straight.text.size() > 0u);
  BOOST_TEST(around.text == straight.text);
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

} // namespace

BOOST_AUTO_TEST_SUITE(helper_only)

BOOST_AUTO_TEST_CASE(a_node_without_room_for_kv_helps) {
  auto log = std::make_shared<event_log>();
  test_cluster all(3, with_helper(2, log, [](actors::node_config& c) {
                     c.hosting.kv_bytes = c.ram_bytes; // beside it nothing has room
                   }));
  check_helper(all);
  BOOST_TEST(log->has("event=helper model='tiny'"));
  BOOST_TEST(log->has("lower --kv"));
  auto why = all.model(2).no_home;
  BOOST_TEST(why.find("are needed for KV") != std::string::npos, why);
}

BOOST_AUTO_TEST_CASE(a_node_that_what_every_token_needs_fills_helps) {
  auto log = std::make_shared<event_log>();
  test_cluster all(3, with_helper(2, log, [](actors::node_config& c) {
                     c.ram_bytes = 3 << 19; // of that, the dense part alone would take it all
                   }));
  check_helper(all);
  auto why = all.model(2).no_home;
  BOOST_TEST(why.find("has only 0 MiB left") != std::string::npos, why);
}

BOOST_AUTO_TEST_CASE(a_node_that_is_told_to_helps) {
  auto log = std::make_shared<event_log>();
  test_cluster all(
      3, with_helper(2, log, [](actors::node_config& c) { c.hosting.helper_only = true; }));
  check_helper(all);
}

/// Rows of its neighbours go through it, and the answer is that of one node. Where weights are
/// quantised a sum's last bit may move an activation to the next step (see exact_test.cpp).
BOOST_AUTO_TEST_CASE(its_experts_are_used) {
  auto plain = std::filesystem::path(COEL_SHARED_DIR) / "fixtures/nano-random-qwen2moe-f16.gguf";
  for (const auto& [model, tolerance] : {std::pair{demo_model, 0.02}, {plain, 1e-4}}) {
    if (!std::filesystem::exists(model)) {
      BOOST_TEST_MESSAGE("skipped: " << model << " is not here");
      continue;
    }
    node_options whole;
    whole.model = model;
    std::vector<float> expected;
    {
      test_cluster alone(1, whole);
      alone.settle();
      expected = *alone.logits(0, some_tokens(40, 0, alone.model(0).model->config().vocab));
    }
    auto options = with_helper(1, std::make_shared<event_log>(),
                               [](actors::node_config& c) { c.hosting.helper_only = true; });
    options.share = 0.6;
    options.model = model;
    test_cluster all(2, options);
    all.settle();
    auto got = all.logits(0, some_tokens(40, 0, all.model(0).model->config().vocab));
    BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
    BOOST_TEST(distance(*got, expected) < tolerance);
    BOOST_TEST(asked_of(all, 0, "node1") > 0u);
    BOOST_TEST(all.network(0).repeats == 0u); // it is asked for nothing that it lacks
  }
}

BOOST_AUTO_TEST_CASE(where_nobody_answers_the_refusal_says_so) {
  auto log = std::make_shared<event_log>();
  test_cluster all(
      1, with_helper(0, log, [](actors::node_config& c) { c.hosting.helper_only = true; }));
  auto refused = ask({endpoint_of(all, 0)}, story(8));
  BOOST_REQUIRE(refused.failure.has_value());
  BOOST_TEST(to_string(refused.failure->code) == "helper_only");
  BOOST_TEST(refused.failure->message.find("start one") != std::string::npos,
             refused.failure->message);
}

BOOST_AUTO_TEST_SUITE_END()
