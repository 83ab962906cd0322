// SentencePiece BPE: merging by score, byte fallback, the space prefix.
#include "tests/model/tokenizer_support.hpp"

#include <limits>

using namespace coel;
using namespace coel::test;
using ids = std::vector<int32_t>;

namespace {

const std::string mark = "\xe2\x96\x81"; // U+2581, a space

int32_t byte_id(uint8_t b) {
  return 3 + b;
}

void same(const ids& got, const ids& expected) {
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

/// Single characters and a few words, by falling score.
struct small {
  model::tokenizer_data d = sentencepiece_vocabulary();
  int32_t space = add_piece(d, mark, -100), a = add_piece(d, "a", -101),
          b = add_piece(d, "b", -102);
  int32_t ab = add_piece(d, "ab", -1), ba = add_piece(d, "ba", -2),
          word = add_piece(d, mark + "ab", -3);
};

} // namespace

BOOST_AUTO_TEST_SUITE(tokenizer_spm)

BOOST_AUTO_TEST_CASE(the_best_score_merges_first) {
  small s;
  auto t = make(s.d);
  same(t->encode("ab", false, false), {s.word});
  same(t->encode("bab", false, false), {s.space, s.b, s.ab});
  same(t->encode("ba", false, false), {s.space, s.ba});
  same(t->encode("ab ab", false, true), {1, s.word, s.word});
}

BOOST_AUTO_TEST_CASE(characters_without_a_token_become_bytes) {
  small s;
  auto t = make(s.d);
  same(t->encode("aé", false, false), {s.space, s.a, byte_id(0xc3), byte_id(0xa9)});
  same(t->encode("\xff", false, false), {s.space, byte_id(0xff)});
  BOOST_TEST(t->piece(byte_id(0xc3)) == "\xc3");
}

BOOST_AUTO_TEST_CASE(prefix_after_special_tokens_too_and_not_when_off) {
  small s;
  auto t = make(s.d);
  same(t->encode("ab</s>ab", true, false), {s.word, 2, s.word});
  BOOST_TEST(t->decode(t->encode("ab</s> ab", true, false), true) == "ab</s> ab");
  s.d.add_space_prefix = false;
  t = make(s.d);
  same(t->encode("ab ab", false, false), {s.ab, s.word});
  BOOST_TEST(t->decode(ids{s.word}) == " ab");
}

BOOST_AUTO_TEST_CASE(typed_text_never_becomes_a_control_or_byte_token) {
  small s;
  for (const char* piece : {"<", "/", "s", ">", "</", "s>", "<0x", "0A>", "0x0A>"})
    add_piece(s.d, piece, -50);
  auto t = make(s.d);
  for (const char* text : {"</s>", "<0x0A>"}) {
    auto got = t->encode(text, false, false);
    BOOST_TEST(std::count(got.begin(), got.end(), 2) == 0);
    BOOST_TEST(std::count(got.begin(), got.end(), byte_id(0x0a)) == 0);
    BOOST_TEST(t->decode(got) == text);
  }
  same(t->encode("</s>", true, false), {2});
}

BOOST_AUTO_TEST_CASE(ends_and_pieces) {
  small s;
  auto t = make(s.d);
  BOOST_TEST((t->is_end(2) && !t->is_end(1) && !t->is_end(0)));
  BOOST_TEST(t->piece(s.word) == " ab");
  BOOST_TEST(t->piece(2).empty());
  BOOST_TEST(t->piece(2, true) == "</s>");
}

BOOST_AUTO_TEST_CASE(any_bytes_come_back) {
  small s;
  add_piece(s.d, mark + mark, -4);
  for (bool prefix : {true, false}) {
    s.d.add_space_prefix = prefix;
    auto t = make(s.d);
    std::mt19937 random(9);
    for (int i = 0; i < 1000; ++i) {
      auto text = random_text(random, 40);
      for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos;)
        text.replace(at, mark.size(), "_"); // U+2581 itself means a space to SentencePiece
      BOOST_TEST((t->decode(t->encode(text, false, false)) == text));
    }
  }
}

BOOST_AUTO_TEST_CASE(long_inputs_end) {
  small s;
  std::string unit = "a";
  for (int i = 0; i < 13; ++i, unit += unit)
    add_piece(s.d, unit + unit, -5.f - static_cast<float>(i));
  auto t = make(s.d);
  std::string text(1 << 20, 'a');
  BOOST_TEST((t->decode(t->encode(text, false, false)) == text));
}

BOOST_AUTO_TEST_CASE(scores_without_order_do_no_harm) {
  small s;
  s.d.scores.back() = std::numeric_limits<float>::quiet_NaN();
  s.d.scores[static_cast<size_t>(s.ba)] = std::numeric_limits<float>::infinity();
  auto t = make(s.d);
  BOOST_TEST(t->decode(t->encode("abab ab ba", false, false)) == "abab ab ba");
}

BOOST_AUTO_TEST_CASE(without_types_byte_tokens_are_known_by_name) {
  small s;
  s.d.types.clear();
  same(make(s.d)->encode("\n", false, false), {s.space, byte_id('\n')});
}

BOOST_AUTO_TEST_CASE(a_missing_byte_needs_an_unknown_token) {
  small s;
  s.d.tokens[static_cast<size_t>(byte_id('q'))] = "qq";
  same(make(s.d)->encode("q", false, false), {s.space, 0});
  s.d.unk.reset();
  auto made = model::make_tokenizer(s.d);
  BOOST_REQUIRE(!made.ok());
  BOOST_TEST((made.err().code == ec::bad_file));
}

BOOST_AUTO_TEST_SUITE_END()
