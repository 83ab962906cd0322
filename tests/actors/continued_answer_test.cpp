// An answer that another node began: it goes on as if it had never been cut.
#include "actors/node.hpp"
#include "cpu/device.hpp"
#include "model/chat.hpp"
#include "net/app_client.hpp"
#include "tests/model/hf_directory.hpp"

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include <filesystem>
#include <unistd.h>

using namespace coel;
using namespace std::chrono_literals;

namespace {

const auto demo_model =
    std::filesystem::path(COEL_SOURCE_DIR) / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf";
const std::string story = "Once upon a time, there was a little girl named Lily. She";

struct system_config : caf::actor_system_config {
  system_config() { actors::configure(*this); }
};

struct piece {
  int32_t id;
  std::string text;
  float logprob;
};

struct answer {
  std::vector<piece> pieces; ///< as they came; what is held back to the end has the id -1
  done_reply done;

  std::vector<int32_t> first(size_t n) const {
    std::vector<int32_t> out;
    for (size_t i = 0; i < n; ++i)
      out.push_back(pieces[i].id);
    return out;
  }
  std::string text(size_t from, size_t to) const {
    std::string out;
    for (size_t i = from; i < to; ++i)
      out += pieces[i].text;
    return out;
  }
  std::string text() const { return text(0, pieces.size()); }
};

/// A node with one model, and a client of it.
struct fixture {
  system_config config;
  caf::actor_system system{config};
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("coel-continued-" + std::to_string(getpid()));
  std::unique_ptr<actors::node> node;
  std::optional<net::app_client> app;

  fixture() {
    std::filesystem::create_directories(folder);
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    serve(demo_model);
  }
  ~fixture() {
    app.reset();
    node.reset();
    std::filesystem::remove_all(folder);
  }

  void serve(const std::filesystem::path& model) {
    app.reset();
    node.reset();
    actors::node_config c;
    c.models = {{model, "m"}};
    c.server.endpoints = {"ipc://" + (folder / "n.sock").string()};
    auto made = actors::node::start(system, *cpu::make_device({2, "", 0, false}), c);
    BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
    node = std::move(*made);
    auto connected = net::app_client::connect({node->endpoints().front(), {}, {}, 20s, 0ms});
    BOOST_REQUIRE(connected.ok());
    app = std::move(*connected);
  }

  std::optional<error> ask(const generate_request& request, answer& into) {
    auto id = app->send(request);
    BOOST_REQUIRE(id.ok());
    for (;;) {
      auto got = app->poll(60s);
      BOOST_REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.err().message));
      BOOST_REQUIRE(got->has_value());
      if (auto* token = std::get_if<token_reply>(&(*got)->reply)) {
        into.pieces.push_back({token->id, token->text, token->logprob});
      } else if (auto* failed = std::get_if<error>(&(*got)->reply)) {
        return *failed;
      } else {
        into.done = std::get<done_reply>((*got)->reply);
        return {};
      }
    }
  }
  answer whole(const generate_request& request) {
    answer out;
    auto failed = ask(request, out);
    BOOST_REQUIRE_MESSAGE(!failed, (failed ? failed->message : ""));
    return out;
  }
  error refusal(const generate_request& request) {
    answer ignored;
    auto failed = ask(request, ignored);
    BOOST_REQUIRE(failed.has_value());
    return *failed;
  }

  /// The answer in one piece, and cut after every token and continued.
  void check_every_cut(const generate_request& request) {
    const auto one = whole(request);
    BOOST_REQUIRE(one.done.answer_tokens > 8u);
    for (uint32_t cut = 1; cut <= one.done.answer_tokens; ++cut) {
      auto rest = request;
      rest.answered = one.first(cut);
      rest.max_tokens -= cut;
      const auto two = whole(rest);
      BOOST_TEST_CONTEXT("cut after " << cut) {
        BOOST_TEST(one.text(0, cut) + two.text() == one.text());
        BOOST_REQUIRE(cut + two.pieces.size() == one.pieces.size());
        for (size_t i = 0; i < two.pieces.size(); ++i) {
          BOOST_TEST(two.pieces[i].id == one.pieces[cut + i].id);
          BOOST_TEST(two.pieces[i].logprob == one.pieces[cut + i].logprob);
        }
        BOOST_TEST((two.done.reason == one.done.reason));
        BOOST_TEST(two.done.answer_tokens == one.done.answer_tokens);
        BOOST_TEST(two.done.prompt_tokens == one.done.prompt_tokens);
        BOOST_TEST(two.done.seed == one.done.seed);
      }
    }
  }
};

/// tokenizer.json of a SentencePiece model of so many tokens.
nlohmann::json sentencepiece(uint32_t vocab) {
  nlohmann::json pieces = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    pieces[name] = pieces.size();
  }
  for (const char* piece : {"\u2581", "a", "\u2581a"})
    pieces[piece] = pieces.size();
  while (pieces.size() < vocab)
    pieces["unused" + std::to_string(pieces.size())] = pieces.size();
  auto marks = nlohmann::json::array(
      {{{"type", "Prepend"}, {"prepend", "\u2581"}},
       {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}});
  auto control = [](int id, const char* text) {
    return nlohmann::json{{"id", id}, {"content", text}, {"special", true}};
  };
  return {{"normalizer", {{"type", "Sequence"}, {"normalizers", marks}}},
          {"added_tokens", nlohmann::json::array({control(1, "<s>"), control(2, "</s>")})},
          {"model",
           {{"type", "BPE"},
            {"byte_fallback", true},
            {"unk_token", "<unk>"},
            {"vocab", pieces},
            {"merges", nlohmann::json::array({"\u2581 a"})}}}};
}

generate_request seeded(uint64_t seed, uint32_t n) {
  generate_request out;
  out.prompt = story;
  out.max_tokens = n;
  out.sampling.temperature = 0.8f;
  out.sampling.seed = seed;
  return out;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(continued_answer, fixture)

BOOST_AUTO_TEST_CASE(a_seeded_sample_is_the_same_cut_anywhere) {
  for (uint64_t seed : {1, 2})
    check_every_cut(seeded(seed, 40));
}

BOOST_AUTO_TEST_CASE(so_is_a_penalised_one_and_one_of_a_chat) {
  auto request = seeded(3, 30);
  request.sampling.repeat_penalty = 1.3f;
  request.sampling.repeat_last_n = 20;
  check_every_cut(request);
  request.prompt.clear();
  request.messages = {{"user", "Tell me of Lily."}};
  request.ignore_end = true;
  check_every_cut(request);
}

BOOST_AUTO_TEST_CASE(a_stop_string_is_found_across_the_seam) {
  auto request = seeded(1, 60);
  const auto free = whole(request);
  // Text of three tokens: it is begun, continued and ended by one each.
  request.sampling.stop = {free.text(19, 22)};
  auto stopped = whole(request);
  BOOST_REQUIRE((stopped.done.reason == finish_reason::stop));
  BOOST_TEST(free.text().starts_with(stopped.text()));
  check_every_cut(request);
}

BOOST_AUTO_TEST_CASE(a_stop_string_that_does_not_come_is_shown_once) {
  auto request = seeded(1, 30);
  const auto free = whole(request);
  request.sampling.stop = {free.text(29, 30) + "never said"};
  auto held = whole(request);
  BOOST_TEST(held.pieces.back().id == -1);
  BOOST_TEST(held.text() == free.text());
  // The piece without a token came from a node that then died: the next one says it again.
  auto rest = request;
  rest.answered = held.first(30);
  rest.max_tokens = 0;
  const auto two = whole(rest);
  BOOST_REQUIRE(two.pieces.size() == 1u);
  BOOST_TEST(two.pieces[0].text == held.pieces.back().text);
  BOOST_TEST((two.done.reason == finish_reason::length));
  BOOST_TEST(two.done.answer_tokens == 30u);
}

// Encoding part by part would put a space before each part.
BOOST_AUTO_TEST_CASE(a_chat_with_a_sentencepiece_model_is_encoded_as_one_text) {
  const test::scratch made, directory;
  auto random = model::cached_random_model(
      made.folder, {*model::shape_by_name("tiny-mixtral"), dtype::f16, 0.8f, 1}, 1);
  BOOST_REQUIRE(random.ok());
  auto draft = test::hf_draft_of(**model::open_model(*random), 1);
  draft.tokenizer = sentencepiece(draft.config["vocab_size"]);
  draft.write(directory);
  directory.put("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "[INST]"})");
  serve(directory.folder);

  auto request = seeded(1, 1);
  request.prompt.clear();
  request.messages = {{"user", "a"}, {"assistant", "aa"}, {"user", "a"}};
  auto source = *model::open_model(directory.folder);
  auto tokenizer = *model::make_tokenizer(source->vocabulary());
  auto parts = model::chat_prompt(model::detect_chat_style(source->vocabulary()),
                                  source->vocabulary(), request.messages);
  BOOST_REQUIRE(parts.ok());
  size_t one_by_one = 0;
  for (const auto& part : *parts)
    one_by_one += tokenizer->encode(part.text, part.special, false).size();
  auto together = tokenizer->encode(*parts).size();
  BOOST_REQUIRE(together < one_by_one);
  BOOST_TEST(whole(request).done.prompt_tokens == together);
}

BOOST_AUTO_TEST_CASE(what_no_node_can_have_answered_is_refused) {
  auto refused = [&](std::vector<int32_t> answered, auto change) {
    auto request = seeded(1, 10);
    request.answered = std::move(answered);
    change(request);
    auto why = refusal(request);
    BOOST_TEST((why.code == ec::bad_argument), why.message);
    return why.message;
  };
  auto unchanged = [](generate_request&) {};
  const auto one = whole(seeded(1, 10));
  BOOST_TEST(refused({1 << 30}, unchanged).find("vocabulary") != std::string::npos);
  BOOST_TEST(refused({}, [](auto& r) { r.max_tokens = 0; }).find("max_tokens") !=
             std::string::npos);
  BOOST_TEST(refused(one.first(5), [&](auto& r) {
               r.sampling.stop = {one.text(1, 2)};
             }).find("stop string") != std::string::npos);
  auto source = *model::open_model(demo_model);
  auto end = source->vocabulary().eos;
  BOOST_REQUIRE(end.has_value());
  BOOST_TEST(refused({*end}, unchanged).find("ends an answer") != std::string::npos);
  auto on = seeded(1, 3);
  on.answered = {*end};
  on.ignore_end = true;
  BOOST_TEST(whole(on).done.answer_tokens == 4u);
}

BOOST_AUTO_TEST_SUITE_END()
