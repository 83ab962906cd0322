// A node that keeps a part of its experts on disk, and `coel pack`, as processes that are killed at
// random moments: what they leave behind is whole, and the next node says the right tokens.
// COEL_KILL_ROUNDS: so many rounds of each instead of a few.
#include "actors/tiering_state.hpp"
#include "model/expert_store.hpp"
#include "model/random_model.hpp"
#include "net/app_client.hpp"
#include "policy/expert_predictor.hpp"
#include "tests/apps/client_run.hpp"
#include "tests/apps/processes.hpp"

#include <boost/test/unit_test.hpp>

#include <random>

using namespace coel;
using namespace coel::test;
using namespace std::chrono_literals;
using coel::net::test::scratch_folder;

namespace {

int rounds() {
  const char* asked = std::getenv("COEL_KILL_ROUNDS");
  return asked ? std::max(1, std::atoi(asked)) : 4;
}

/// Drawn, so that a difference in one bit of a logit is soon another token.
generate_request question(uint64_t seed, uint32_t prompt_tokens, uint32_t answer) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  generate_request r;
  for (uint32_t i = 0; i < prompt_tokens; ++i)
    r.tokens.push_back(static_cast<int32_t>(random() % 512));
  r.max_tokens = answer;
  r.ignore_end = true;
  r.stream = false;
  r.sampling.seed = seed;
  r.sampling.temperature = 1;
  return r;
}

net::app_client client_of(const std::string& endpoint) {
  net::app_client_options to;
  to.endpoint = endpoint;
  auto made = net::app_client::connect(to);
  BOOST_REQUIRE_MESSAGE(made.ok(), (made ? "" : made.err().message));
  return std::move(*made);
}

using answers = std::vector<std::vector<int32_t>>;

answers ask_all(const std::string& endpoint) {
  auto client = client_of(endpoint);
  answers all;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    auto got = client.ask(question(seed, seed % 2 ? 3 : 90, 40), 60s);
    BOOST_REQUIRE_MESSAGE(got.ok(), (got ? "" : got.err().message));
    const auto* done = std::get_if<done_reply>(&*got);
    BOOST_REQUIRE(done && done->answer);
    all.push_back(done->answer->tokens);
  }
  return all;
}

/// Prompts, decodes and cancels until the node is gone.
void load(const std::string& endpoint, uint32_t seed) {
  std::mt19937 random(seed);
  net::app_client_options to;
  to.endpoint = endpoint;
  auto client = net::app_client::connect(to);
  if (!client)
    return;
  std::vector<uint64_t> asked;
  for (auto gone = std::chrono::steady_clock::now() + 30s;
       std::chrono::steady_clock::now() < gone;) {
    if (asked.size() < 6) {
      auto id = client->send(question(random(), 1 + random() % 150, 1 + random() % 60));
      if (!id)
        return;
      asked.push_back(*id);
    } else if (random() % 3 == 0 && !client->cancel(asked[random() % asked.size()])) {
      return;
    }
    auto got = client->poll(5ms);
    if (!got)
      return;
    if (*got && (std::holds_alternative<done_reply>((*got)->reply) ||
                 std::holds_alternative<error>((*got)->reply)))
      std::erase(asked, (*got)->id);
  }
}

struct fixture {
  scratch_folder folder;
  std::filesystem::path model = folder.path() / "m.gguf";
  std::filesystem::path store = model::usual_store_path(model);
  std::mt19937 random{1};

  fixture() {
    random_spec.shape = *coel::model::shape_by_name("tiny-qwen2moe");
    random_spec.type = dtype::f32; // 50 MB of experts
    auto made = coel::model::write_random_model(model, random_spec, 1);
    BOOST_REQUIRE_MESSAGE(made.ok(), (made ? "" : made.err().message));
  }

  std::vector<std::string> node_options(const std::string& name, const std::string& ram) const {
    return {"--model",    "m=" + model.string(),
            "--endpoint", "ipc://" + (folder.path() / (name + ".sock")).string(),
            "--threads",  "1",
            "--kv",       "4MB",
            "--ram",      ram};
  }
  /// What the node says it needs at least, and a third of the experts.
  std::string little_memory() const {
    process refused(folder.path(), "coel-node", node_options("refused", "1MB"));
    (void)refused.wait();
    auto text = refused.errors();
    auto at = text.find("Give --ram ");
    BOOST_REQUIRE_MESSAGE(at != std::string::npos, text);
    return std::to_string(std::stoi(text.substr(at + 11)) + 16) + "MiB";
  }
  void check_whole_store() const {
    auto got = run_coel(folder.path(), "pack --check " + model.string());
    BOOST_REQUIRE_MESSAGE(got.exit == 0, got.err);
  }
  /// Of the model, or none was kept yet.
  bool check_predictor() const {
    auto path = folder.path() / ".cache/coel/predictors/m.predictor";
    if (!std::filesystem::exists(path))
      return false;
    auto bytes = actors::read_state(path);
    BOOST_REQUIRE_MESSAGE(bytes.ok(), (bytes ? "" : bytes.err().message));
    const auto& c = random_spec.shape;
    auto loaded = policy::expert_predictor::load(*bytes, {c.layers, c.experts, c.top_k});
    BOOST_REQUIRE_MESSAGE(loaded.ok(), (loaded ? "" : loaded.err().message));
    return true;
  }
  std::chrono::microseconds soon(uint32_t most_ms) {
    return std::chrono::microseconds(random() % (most_ms * 1000));
  }

  coel::model::random_model_spec random_spec;
};

/// A node of the fixture's, once it is ready.
struct running {
  std::string endpoint;
  process node;

  running(const fixture& f, const std::string& name, const std::string& ram)
      : endpoint("ipc://" + (f.folder.path() / (name + ".sock")).string()),
        node(f.folder.path(), "coel-node", f.node_options(name, ram)) {
    for (int i = 0; i < 3000 && node.errors().find("event=ready") == std::string::npos; ++i)
      std::this_thread::sleep_for(10ms);
    BOOST_REQUIRE_MESSAGE(node.errors().find("event=ready") != std::string::npos, node.errors());
  }
  std::string status(const fixture& f) const {
    return run_coel(f.folder.path(), "status --endpoint " + endpoint).out;
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(killed, fixture)

BOOST_AUTO_TEST_CASE(a_node_that_is_killed_under_load_leaves_what_the_next_one_can_use) {
  auto ram = little_memory();
  auto expected = [&] {
    running whole(*this, "whole", "0");
    BOOST_REQUIRE(whole.status(*this).find("experts in memory") == std::string::npos);
    return ask_all(whole.endpoint);
  }();
  BOOST_REQUIRE(run_coel(folder.path(), "pack " + model.string()).exit == 0);
  int kept = 0;
  for (int i = 0; i < rounds(); ++i)
    BOOST_TEST_CONTEXT("round " << i << " of seed 1") {
      if (i == rounds() / 2) // the rest reads the model's own file
        std::filesystem::remove(store);
      {
        running node(*this, "node", ram);
        BOOST_REQUIRE(node.status(*this).find("experts in memory") != std::string::npos);
        BOOST_TEST(ask_all(node.endpoint) == expected);
        std::thread one([&, seed = random()] { load(node.endpoint, seed); });
        std::thread two([&, seed = random()] { load(node.endpoint, seed); });
        std::this_thread::sleep_for(soon(600));
        if (i % 2 == 0) { // it is killed while it writes what it has learnt, or near that
          node.node.signal(SIGTERM);
          std::this_thread::sleep_for(soon(120));
        }
        node.node.signal(SIGKILL);
        (void)node.node.wait();
        one.join();
        two.join();
      }
      kept += check_predictor();
      if (i < rounds() / 2)
        check_whole_store();
    }
  running last(*this, "last", ram);
  BOOST_TEST(ask_all(last.endpoint) == expected);
  last.node.signal(SIGTERM); // and this one keeps what it has learnt
  BOOST_TEST(last.node.wait() == 0);
  BOOST_TEST(check_predictor());
  BOOST_TEST_MESSAGE(rounds() << " rounds, a predictor's file in " << kept);
}

BOOST_AUTO_TEST_CASE(a_packer_that_is_killed_leaves_the_old_store_or_the_new_or_none) {
  int whole = 0;
  for (int i = 0; i < 4 * rounds(); ++i)
    BOOST_TEST_CONTEXT("round " << i << " of seed 1") {
      process packer(folder.path(), "coel", {"pack", model.string()});
      std::this_thread::sleep_for(soon(250));
      packer.signal(SIGKILL);
      (void)packer.wait();
      if (std::filesystem::exists(store)) {
        check_whole_store();
        ++whole;
      }
    }
  BOOST_REQUIRE(run_coel(folder.path(), "pack " + model.string()).exit == 0);
  check_whole_store();
  for (const auto& file : std::filesystem::directory_iterator(folder.path()))
    BOOST_TEST(file.path().extension() != ".new", file.path());
  BOOST_TEST_MESSAGE(4 * rounds() << " packers killed, a store was there after " << whole);
}

BOOST_AUTO_TEST_SUITE_END()
