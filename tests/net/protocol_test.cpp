// Every message survives the way to bytes and back.
#include "net/app_protocol.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>

using namespace coel;
using namespace coel::net;

namespace {

template <class Body>
Body there_and_back(const Body& request, uint64_t id = 7) {
  auto back = decode_request(encode(id, app_request(request)));
  BOOST_REQUIRE_MESSAGE(back.body.ok(), (back.body.ok() ? "" : back.body.err().message));
  BOOST_REQUIRE(back.id == id);
  BOOST_REQUIRE(std::holds_alternative<Body>(*back.body));
  return std::get<Body>(*back.body);
}

template <class Body>
Body reply_and_back(const Body& reply, uint64_t id = 7) {
  auto back = decode_reply(encode(id, app_reply(reply)));
  BOOST_REQUIRE_MESSAGE(back.body.ok(), (back.body.ok() ? "" : back.body.err().message));
  BOOST_REQUIRE(back.id == id);
  BOOST_REQUIRE(std::holds_alternative<Body>(*back.body));
  return std::get<Body>(*back.body);
}

sampling_params unusual_sampling() {
  sampling_params s;
  s.temperature = 0.125f;
  s.top_k = 3;
  s.top_p = 0.5f;
  s.min_p = 0.25f;
  s.repeat_penalty = 1.5f;
  s.repeat_last_n = 9;
  s.seed = UINT64_MAX;
  s.logprobs = 20;
  s.stop = {"\n\n", "Ende ü"};
  return s;
}

void check_same(const sampling_params& a, const sampling_params& b) {
  BOOST_TEST(a.temperature == b.temperature);
  BOOST_TEST(a.top_k == b.top_k);
  BOOST_TEST(a.top_p == b.top_p);
  BOOST_TEST(a.min_p == b.min_p);
  BOOST_TEST(a.repeat_penalty == b.repeat_penalty);
  BOOST_TEST(a.repeat_last_n == b.repeat_last_n);
  BOOST_TEST(a.seed == b.seed);
  BOOST_TEST(a.logprobs == b.logprobs);
  BOOST_TEST(a.stop == b.stop);
}

} // namespace

BOOST_AUTO_TEST_SUITE(protocol)

BOOST_AUTO_TEST_CASE(generate_with_every_field) {
  generate_request in;
  in.model = "qwen";
  in.prompt = "Grüße, 世界 🌍";
  in.max_tokens = 5;
  in.deadline_ms = 900;
  in.ignore_end = true;
  in.stream = false;
  in.sampling = unusual_sampling();
  auto out = there_and_back(in, UINT64_MAX);
  BOOST_TEST(out.model == in.model);
  BOOST_TEST(out.prompt == in.prompt);
  BOOST_TEST(out.tokens.empty());
  BOOST_TEST(out.messages.empty());
  BOOST_TEST(out.max_tokens == 5u);
  BOOST_TEST(out.deadline_ms == 900u);
  BOOST_TEST(out.ignore_end);
  BOOST_TEST(!out.stream);
  check_same(out.sampling, in.sampling);
}

BOOST_AUTO_TEST_CASE(generate_from_tokens_and_from_nothing) {
  generate_request in;
  in.tokens = {0, 1, INT32_MAX};
  BOOST_TEST(there_and_back(in).tokens == in.tokens);
  auto empty = there_and_back(generate_request{});
  BOOST_TEST(empty.prompt.empty());
  check_same(empty.sampling, sampling_params{});
}

BOOST_AUTO_TEST_CASE(an_answer_to_go_on_with) {
  generate_request in;
  in.prompt = "x";
  in.answered = {0, 5, INT32_MAX};
  in.max_tokens = 0;
  auto out = there_and_back(in);
  BOOST_TEST(out.answered == in.answered);
  BOOST_TEST(out.max_tokens == 0u);
  in.messages = {{"user", "Why?"}};
  BOOST_TEST(there_and_back(in).answered == in.answered);
  // Without one the field is not sent: nodes of before read the same message as ever.
  BOOST_TEST(encode(1, app_request(generate_request{})).find("answered") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(chat) {
  generate_request in;
  in.messages = {{"system", "Be brief."}, {"user", "Why?"}, {"assistant", ""}};
  auto out = there_and_back(in);
  BOOST_REQUIRE(out.messages.size() == 3u);
  for (size_t i = 0; i < 3; ++i) {
    BOOST_TEST(out.messages[i].role == in.messages[i].role);
    BOOST_TEST(out.messages[i].content == in.messages[i].content);
  }
}

BOOST_AUTO_TEST_CASE(small_requests) {
  auto by_text = there_and_back(score_request{"m", "abc", {}, 5});
  BOOST_TEST(by_text.text == "abc");
  BOOST_TEST(by_text.deadline_ms == 5u);
  BOOST_TEST(there_and_back(score_request{"m", "", {3, 2, 1}, 0}).tokens ==
             (std::vector<int32_t>{3, 2, 1}));
  auto tokenize = there_and_back(tokenize_request{"m", "<|x|>", true});
  BOOST_TEST(tokenize.model == "m");
  BOOST_TEST(tokenize.text == "<|x|>");
  BOOST_TEST(tokenize.special);
  BOOST_TEST(there_and_back(detokenize_request{"m", {9}}).tokens == (std::vector<int32_t>{9}));
  BOOST_TEST(there_and_back(detokenize_request{"m", {}}).tokens.empty());
  BOOST_TEST(there_and_back(cancel_request{1ull << 60}).target == 1ull << 60);
  auto inspect = there_and_back(inspect_request{"trace", "m", 12, 2});
  BOOST_TEST(inspect.what == "trace");
  BOOST_TEST(inspect.model == "m");
  BOOST_TEST(inspect.target == 12u);
  BOOST_TEST(inspect.depth == 2u);
  BOOST_TEST(inspect.node.empty());
  BOOST_TEST(there_and_back(inspect_request{"drain", "", 0, 0, "n2"}).node == "n2");
}

BOOST_AUTO_TEST_CASE(replies) {
  auto token = reply_and_back(token_reply{5, "ß", -0.5f, {{5, -0.5f}, {6, -3.25f}}});
  BOOST_TEST(token.id == 5);
  BOOST_TEST(token.text == "ß");
  BOOST_TEST(token.logprob == -0.5f);
  BOOST_REQUIRE(token.top.size() == 2u);
  BOOST_TEST(token.top[1].id == 6);
  BOOST_TEST(token.top[1].logprob == -3.25f);
  BOOST_TEST(reply_and_back(token_reply{-1, "held back", 0, {}}).id == -1);
  auto score = reply_and_back(score_reply{{1, 2, 3}, {-1.5f, -HUGE_VALF}});
  BOOST_TEST(score.tokens == (std::vector<int32_t>{1, 2, 3}));
  BOOST_TEST(score.logprobs == (std::vector<float>{-1.5f, -HUGE_VALF}));
  BOOST_TEST(reply_and_back(tokens_reply{{4}}).tokens == (std::vector<int32_t>{4}));
  BOOST_TEST(reply_and_back(text_reply{"t"}).text == "t");
  BOOST_TEST(reply_and_back(document_reply{"{}"}).json == "{}");
  reply_and_back(cancelled_reply{});
}

BOOST_AUTO_TEST_CASE(floats_of_any_size_stay_floats) {
  for (float value : {1.0f, -0.0f, 1e19f, -1e30f, HUGE_VALF}) {
    auto bytes = encode(1, app_reply(score_reply{{1, 2}, {value}}));
    BOOST_TEST(bytes.find('\xCA') != std::string::npos);
    BOOST_TEST(std::signbit(reply_and_back(score_reply{{1, 2}, {value}}).logprobs[0]) ==
               std::signbit(value));
    BOOST_TEST(reply_and_back(token_reply{1, "", value, {{1, value}}}).top[0].logprob == value);
  }
}

BOOST_AUTO_TEST_CASE(done_with_and_without_the_whole_answer) {
  done_reply in;
  in.request = 1;
  in.prompt_tokens = 2;
  in.answer_tokens = 3;
  in.seed = 4;
  in.times = {5, 6, 7};
  for (auto reason : {finish_reason::end, finish_reason::stop, finish_reason::length,
                      finish_reason::cancelled, finish_reason::deadline}) {
    in.reason = reason;
    auto out = reply_and_back(in);
    BOOST_TEST((out.reason == reason));
    BOOST_TEST(out.request == 1u);
    BOOST_TEST(out.prompt_tokens == 2u);
    BOOST_TEST(out.answer_tokens == 3u);
    BOOST_TEST(out.seed == 4u);
    BOOST_TEST(out.times.queued_us == 5u);
    BOOST_TEST(out.times.prefill_us == 6u);
    BOOST_TEST(out.times.decode_us == 7u);
    BOOST_TEST(!out.answer);
  }
  in.answer = whole_answer{"text", {1, 2}, {-1.f, -2.f}};
  auto out = reply_and_back(in);
  BOOST_REQUIRE(out.answer);
  BOOST_TEST(out.answer->text == "text");
  BOOST_TEST(out.answer->tokens == in.answer->tokens);
  BOOST_TEST(out.answer->logprobs == in.answer->logprobs);
}

BOOST_AUTO_TEST_CASE(every_error_code) {
  for (uint8_t i = 0; i < ec_count; ++i) {
    auto code = static_cast<ec>(i);
    auto back = decode_reply(encode(3, app_reply(error{code, "because"})));
    BOOST_REQUIRE(back.body.ok());
    auto* out = std::get_if<error>(&*back.body);
    BOOST_REQUIRE(out != nullptr);
    BOOST_TEST((out->code == code));
    BOOST_TEST(out->message == "because");
  }
}

BOOST_AUTO_TEST_CASE(broken_text_is_repaired_on_its_way_out) {
  auto out = reply_and_back(text_reply{"a\xC3(\xE4\xB8 \xED\xA0\x80z"});
  BOOST_TEST(out.text == "a\uFFFD(\uFFFD\uFFFD \uFFFD\uFFFD\uFFFDz");
}

BOOST_AUTO_TEST_SUITE_END()
