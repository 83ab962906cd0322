// What a reader sees of an answer while it is made: whole characters, nothing of a stop string.
#include "model/text_stream.hpp"
#include "tests/model/model_files.hpp"
#include "tests/model/tokenizer_support.hpp"

using namespace coel;
using namespace coel::test;
using model::text_stream;
using texts = std::vector<std::string>;

namespace {

const auto per_element = boost::test_tools::per_element();

struct fixture {
  model::tokenizer_ptr bytes = make(byte_vocabulary()); // token b is byte b

  /// What each byte's push shows, then what finish() does; ends at a stop.
  texts shown(std::string_view text, const texts& stop = {}) const {
    text_stream stream(bytes, stop);
    texts all;
    for (char c : text) {
      auto step = stream.push(static_cast<uint8_t>(c));
      all.push_back(step.text);
      if (step.stopped) {
        all.push_back("(stop)");
        BOOST_TEST(stream.finish().empty());
        return all;
      }
    }
    all.push_back(stream.finish());
    return all;
  }
};

std::string joined(const texts& all) {
  std::string text;
  for (const auto& t : all)
    text += t;
  return text;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(text_stream_test, fixture)

BOOST_AUTO_TEST_CASE(a_character_is_shown_when_it_is_whole) {
  BOOST_TEST(shown("aé中🙂") == (texts{"a", "", "é", "", "", "中", "", "", "", "🙂", ""}),
             per_element);
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_character_become_one_mark_each) {
  BOOST_TEST(shown("\xff"
                   "a\x80") == (texts{"\ufffd", "a", "\ufffd", ""}),
             per_element);
  // a character that another one interrupts, one that the end does, an overlong form, a surrogate
  BOOST_TEST(joined(shown("\xe4\xb8x")) == "\ufffd\ufffdx");
  BOOST_TEST(shown("\xf0\x9f\x99") == (texts{"", "", "", "\ufffd\ufffd\ufffd"}), per_element);
  BOOST_TEST(joined(shown("\xc0\xaf")) == "\ufffd\ufffd");
  BOOST_TEST(joined(shown("\xed\xa0\x80")) == "\ufffd\ufffd\ufffd");
}

BOOST_AUTO_TEST_CASE(a_stop_string_over_many_tokens_is_not_shown) {
  BOOST_TEST(shown("ab END of", {"END"}) == (texts{"a", "b", " ", "", "", "", "(stop)"}),
             per_element);
  BOOST_TEST(shown("END", {"END"}) == (texts{"", "", "", "(stop)"}), per_element);
  BOOST_TEST(shown("x", {"x"}) == (texts{"", "(stop)"}), per_element);
}

BOOST_AUTO_TEST_CASE(a_stop_string_that_does_not_come_is_shown) {
  BOOST_TEST(shown("aENx", {"END"}) == (texts{"a", "", "", "ENx", ""}), per_element);
  BOOST_TEST(shown("aEN", {"END"}) == (texts{"a", "", "", "EN"}), per_element);
}

BOOST_AUTO_TEST_CASE(a_stop_string_that_begins_in_its_own_middle) {
  BOOST_TEST(joined(shown("aab", {"ab"})) == "a(stop)");
  BOOST_TEST(joined(shown("ababac", {"abac"})) == "ab(stop)");
  BOOST_TEST(joined(shown("\n\n\n#", {"\n\n#"})) == "\n(stop)");
}

BOOST_AUTO_TEST_CASE(the_first_of_several_stop_strings_counts) {
  BOOST_TEST(joined(shown("one two three", {"three", "two"})) == "one (stop)");
  // of two that end at the same token, the one that began first
  BOOST_TEST(joined(shown("abcd", {"cd", "bcd"})) == "a(stop)");
}

BOOST_AUTO_TEST_CASE(text_after_the_stop_in_the_same_token_is_dropped) {
  auto d = byte_vocabulary();
  auto word = add_merge(d, " the", "\nUser:");
  text_stream stream(make(d), {"\nUser"});
  auto step = stream.push(word);
  BOOST_TEST(step.text == " the");
  BOOST_TEST(step.stopped);
}

BOOST_AUTO_TEST_CASE(stop_strings_of_several_bytes_and_of_parts_of_characters) {
  BOOST_TEST(joined(shown("ja中文", {"中"})) == "ja(stop)");
  BOOST_TEST(joined(shown("ja丮", {"中"})) == "ja丮"); // the same first two bytes
  BOOST_TEST(joined(shown("é", {"\xa9"})) == "\ufffd(stop)");
}

BOOST_AUTO_TEST_CASE(empty_stop_strings_stop_nothing) {
  BOOST_TEST(joined(shown("abc", {"", ""})) == "abc");
}

// Another node takes an answer over by pushing its tokens, of which the text has been shown.
BOOST_AUTO_TEST_CASE(a_stream_goes_on_where_another_was_cut) {
  const texts stops = {"END", "\n\n"};
  for (std::string text : {"é中🙂 EN", "ab EN中\nx\n\ny", "\xf0\x9f", "aENDb"})
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      text_stream here(bytes, stops), there(bytes, stops);
      std::string seen;
      bool stopped = false;
      for (size_t i = 0; i < text.size() && !stopped; ++i) {
        const auto id = static_cast<uint8_t>(text[i]);
        if (i < cut)
          seen += here.push(id).text;
        auto step = there.push(id);
        stopped = step.stopped;
        if (i >= cut)
          seen += step.text;
      }
      seen += there.finish();
      BOOST_TEST(seen + (stopped ? "(stop)" : "") == joined(shown(text, stops)));
    }
}

BOOST_AUTO_TEST_CASE(control_tokens_and_ids_out_of_range_are_silent) {
  text_stream stream(bytes, {});
  for (int32_t id : {258, -1, 1 << 30})
    BOOST_TEST(stream.push(id).text.empty());
  BOOST_TEST(stream.finish().empty());
}

BOOST_AUTO_TEST_CASE(any_text_is_shown_whole_whatever_the_stops) {
  std::mt19937 random(11);
  for (int i = 0; i < 500; ++i) {
    auto text = random_text(random, 30);
    BOOST_TEST(is_utf8(joined(shown(text))));
    const texts stop = {"don't stop", "<|", "\xe2\x96",
                        std::string(1, static_cast<char>(random()))};
    auto first = std::string::npos;
    for (const auto& s : stop)
      first = std::min(first, text.find(s));
    auto got = joined(shown(text, stop));
    auto want = joined(shown(std::string_view(text).substr(0, first)));
    BOOST_TEST(got == want + (first == std::string::npos ? "" : "(stop)"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
