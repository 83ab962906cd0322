// Byte-level BPE: cutting, merging, special tokens, and vocabularies that must be refused.
#include "model/pretokenizer.hpp"
#include "tests/model/tokenizer_support.hpp"

using namespace coel;
using namespace coel::test;
using ids = std::vector<int32_t>;

namespace {

std::vector<std::string> words(const char* pre, std::string_view text) {
  auto made = model::pretokenizer::make(pre);
  BOOST_REQUIRE(made.ok());
  auto pieces = (*made)->split(text);
  return {pieces.begin(), pieces.end()};
}

void check_words(const char* pre, std::string_view text, const std::vector<std::string>& expected) {
  BOOST_TEST_CONTEXT(pre << ": " << text)
  BOOST_TEST(words(pre, text) == expected, boost::test_tools::per_element());
}

void refused(model::tokenizer_data d, ec code, const char* part) {
  auto made = model::make_tokenizer(std::move(d));
  BOOST_REQUIRE(!made.ok());
  BOOST_TEST((made.err().code == code));
  BOOST_TEST(made.err().message.find(part) != std::string::npos, made.err().message);
}

} // namespace

BOOST_AUTO_TEST_SUITE(tokenizer_bpe)

BOOST_AUTO_TEST_CASE(each_family_cuts_in_its_own_way) {
  check_words("qwen2", "I'M 1234 ok", {"I", "'M", " ", "1", "2", "3", "4", " ok"});
  check_words("llama-bpe", "I'M 1234 ok", {"I", "'M", " ", "123", "4", " ok"});
  check_words("gpt-2", "I'M 1234 ok", {"I", "'", "M", " 1234", " ok"});
  check_words("gpt-2", "it's a\n\n b", {"it", "'s", " a", "\n\n", " b"});
  check_words("qwen2", "a.\n\n  b", {"a", ".\n\n", " ", " b"});
  check_words("llama-bpe", "x\r\n \n  y  ", {"x", "\r\n \n", " ", " y", "  "});
  check_words("olmo", "héllo  wörld", {"héllo", " ", " wörld"});
  check_words("qwen2", "中文\xc2\xa0字", {"中文", "\xc2\xa0字"});
}

BOOST_AUTO_TEST_CASE(synonyms_and_unknown_names) {
  for (const char* name : {"gpt2", "gpt-2", "olmo", "default"})
    BOOST_TEST(words(name, "a 12").back() == " 12");
  for (const char* name : {"llama3", "llama-v3", "llama-bpe"})
    BOOST_TEST(words(name, "1234").front() == "123");
  refused(byte_vocabulary("chatglm-bpe"), ec::unsupported, "qwen2, llama-bpe, gpt-2 and olmo");
  refused(byte_vocabulary(""), ec::unsupported, "names no pre-tokenizer");
}

BOOST_AUTO_TEST_CASE(words_put_together_are_the_text) {
  std::mt19937 random(3);
  for (const char* pre : {"qwen2", "llama-bpe", "gpt-2"})
    for (int i = 0; i < 300; ++i) {
      auto text = random_text(random, 30);
      std::string joined;
      for (const auto& w : words(pre, text)) {
        BOOST_TEST(!w.empty());
        joined += w;
      }
      BOOST_TEST((joined == text));
    }
}

BOOST_AUTO_TEST_CASE(merges_go_by_rank_not_by_place) {
  auto d = byte_vocabulary();
  add_merge(d, "b", "c");
  auto ab = add_merge(d, "a", "b");
  auto abc = add_merge(d, "a", "bc");
  auto t = make(d);
  BOOST_TEST(t->encode("abc", false, false) == ids{abc}, boost::test_tools::per_element());
  BOOST_TEST(t->encode("abd", false, false) == (ids{ab, 'd'}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(equal_pairs_merge_from_the_left) {
  auto d = byte_vocabulary();
  auto aa = add_merge(d, "a", "a");
  BOOST_TEST(make(d)->encode("aaaaa", false, false) == (ids{aa, aa, 'a'}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(merges_do_not_cross_words) {
  auto d = byte_vocabulary();
  add_merge(d, "a", " ");
  auto b = add_merge(d, " ", "b");
  BOOST_TEST(make(d)->encode("a b", false, false) == (ids{'a', b}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(llama_bpe_takes_whole_words_first) {
  auto d = byte_vocabulary("llama-bpe");
  auto word = add_token(d, "xyz"); // no merge makes it
  BOOST_TEST(make(d)->encode("xyz", false, false) == ids{word}, boost::test_tools::per_element());
  d.pre = "qwen2";
  BOOST_TEST(make(d)->encode("xyz", false, false) == (ids{'x', 'y', 'z'}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(control_tokens_only_when_asked) {
  auto t = make(byte_vocabulary());
  BOOST_TEST(t->encode("a<|im_end|>b", true, false) == (ids{'a', 258, 'b'}),
             boost::test_tools::per_element());
  auto plain = t->encode("a<|im_end|>b", false, false);
  BOOST_TEST(plain.size() == 12u);
  BOOST_TEST(std::count(plain.begin(), plain.end(), 258) == 0);
}

BOOST_AUTO_TEST_CASE(longest_special_token_wins_and_user_defined_always_count) {
  auto d = byte_vocabulary();
  auto tool = add_token(d, "<tool>", model::token_type::user_defined);
  auto longer = add_token(d, "<tool>s", model::token_type::user_defined);
  auto control = add_token(d, "<tool>s!", model::token_type::control);
  auto t = make(d);
  BOOST_TEST(t->encode("<tool><tool>s!", false, false) == (ids{tool, longer, '!'}),
             boost::test_tools::per_element());
  BOOST_TEST(t->encode("<tool>s!", true, false) == ids{control}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(marks_as_the_vocabulary_says) {
  auto d = byte_vocabulary();
  d.bos = 257, d.add_bos = true, d.add_eos = true;
  auto t = make(d);
  BOOST_TEST(t->encode("a", false, true) == (ids{257, 'a', 256}), boost::test_tools::per_element());
  BOOST_TEST(t->encode("a", false, false) == ids{'a'}, boost::test_tools::per_element());
  BOOST_TEST(t->encode("", false, false).empty());
}

BOOST_AUTO_TEST_CASE(pieces_and_ends) {
  auto d = byte_vocabulary();
  auto word = add_merge(d, "\xc3", "\xa9");
  auto fake = add_token(d, "</s>"); // an ordinary token of that text ends nothing
  auto hole = add_token(d, "hole", model::token_type::unused);
  auto t = make(d);
  BOOST_TEST(t->piece(word) == "é");
  BOOST_TEST(t->piece(0xc3) == "\xc3");
  BOOST_TEST(t->piece(258).empty());
  BOOST_TEST(t->piece(258, true) == "<|im_end|>");
  for (int32_t id : {-1, hole, 100000, INT32_MAX, INT32_MIN}) {
    BOOST_TEST(t->piece(id, true).empty());
    BOOST_TEST(!t->is_end(id));
  }
  BOOST_TEST((t->is_end(256) && t->is_end(258)));
  BOOST_TEST((!t->is_end(257) && !t->is_end(fake) && !t->is_end('a')));
}

BOOST_AUTO_TEST_CASE(any_bytes_come_back) {
  auto d = byte_vocabulary("llama-bpe");
  add_merge(d, "a", "b");
  add_merge(d, " ", "a");
  add_merge(d, "\xc3", "\xa9");
  auto t = make(d);
  std::mt19937 random(5);
  for (int i = 0; i < 1000; ++i) {
    auto text = random_text(random, 40);
    BOOST_TEST((t->decode(t->encode(text, false, false)) == text));
    BOOST_TEST((t->decode(t->encode(text, true, false), true) == text));
  }
}

BOOST_AUTO_TEST_CASE(long_inputs_end) {
  auto d = byte_vocabulary();
  std::string unit = "a";
  for (int i = 0; i < 10; ++i, unit += unit)
    add_merge(d, unit, unit);
  auto t = make(d);
  for (const char* part :
       {"a", " ", "\n", "'", "1", "\xff", "é", " \n", "<", "<|im_end|", "a\xcc\x80"}) {
    std::string text;
    while (text.size() < (1u << 20))
      text += part;
    BOOST_TEST_CONTEXT(part) BOOST_TEST((t->decode(t->encode(text, true, false)) == text));
  }
}

BOOST_AUTO_TEST_CASE(inconsistent_vocabularies_are_refused) {
  auto bad = [](auto change) {
    auto d = byte_vocabulary();
    change(d);
    return d;
  };
  refused({}, ec::bad_file, "empty");
  refused(bad([](auto& d) { d.types.pop_back(); }), ec::bad_file, "token types");
  refused(bad([](auto& d) { d.scores = {1}; }), ec::bad_file, "scores");
  refused(bad([](auto& d) { d.eos = 259; }), ec::bad_file, "259");
  refused(bad([](auto& d) { d.bos = -1; }), ec::bad_file, "-1");
  refused(bad([](auto& d) { d.tokens['q'] = "zz"; }), ec::bad_file, "some byte");
  auto d = bad([](auto& x) {
    x.tokens['q'] = "zz";
    x.unk = 7;
  });
  BOOST_TEST(make(d)->encode("aq", false, false) == (ids{'a', 7}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(odd_merges_do_no_harm) {
  auto d = byte_vocabulary();
  d.merges = {"", " ", "a", "a ", " a", "nothing here", "a b c", "<|im_start|> a", "a b"};
  BOOST_TEST(make(d)->encode("ab", false, false) == (ids{'a', 'b'}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
