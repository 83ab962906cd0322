// tokenizer.json and its companions: what they may say, and what is refused.
#include "model/hf_tokenizer.hpp"
#include "model/json.hpp"
#include "tests/model/model_files.hpp"
#include "tests/model/tokenizer_support.hpp"

using namespace coel;
using namespace coel::test;
using json_value = nlohmann::json;
using ids = std::vector<int32_t>;

namespace {

struct fixture : scratch {
  json_value good = byte_level_json();

  /// Byte b is token b, "th" 256, "the" 257; <|im_end|> 258 and <tool> 259 are added.
  static json_value byte_level_json() {
    json_value vocab = {{"th", 256}, {"the", 257}};
    for (int b = 0; b < 256; ++b)
      vocab[byte_level(static_cast<uint8_t>(b))] = b;
    return {{"normalizer", {{"type", "NFC"}}},
            {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
            {"added_tokens",
             {{{"id", 258}, {"content", "<|im_end|>"}, {"special", true}},
              {{"id", 259}, {"content", "<tool>"}}}},
            {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"t h", {"th", "e"}}}}}};
  }
  /// <unk> 0, <s> 1, </s> 2, bytes from 3 on, then U+2581, "a" and both.
  static json_value sentencepiece_json() {
    json_value vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"▁", 259}, {"a", 260}, {"▁a", 261}};
    for (int b = 0; b < 256; ++b) {
      char text[8];
      std::snprintf(text, sizeof text, "<0x%02X>", b);
      vocab[text] = 3 + b;
    }
    const json_value begin = {{"SpecialToken", {{"id", "<s>"}}}},
                     text = {{"Sequence", {{"id", "A"}}}};
    return {{"normalizer",
             {{"type", "Sequence"},
              {"normalizers",
               {{{"type", "Prepend"}, {"prepend", "▁"}},
                {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
            {"post_processor", {{"type", "TemplateProcessing"}, {"single", {begin, text}}}},
            {"added_tokens", {{{"id", 1}, {"content", "<s>"}, {"special", true}}}},
            {"model",
             {{"type", "BPE"},
              {"byte_fallback", true},
              {"unk_token", "<unk>"},
              {"vocab", vocab},
              {"merges", {"▁ a"}}}}};
  }
  model::tokenizer_ptr open(const json_value& tokenizer) const {
    put("tokenizer.json", tokenizer.dump());
    return make(model::read_hf_tokenizer(folder));
  }
  void refused(const std::string& file, std::string_view content, ec code,
               std::string_view part) const {
    put("tokenizer.json", good.dump());
    const auto path = put(file, content);
    check_refused(model::read_hf_tokenizer(folder), code, path, part);
    std::filesystem::remove(path);
  }
  template <class Change>
  void refused(Change change, std::string_view part, ec code = ec::unsupported) const {
    auto changed = good;
    change(changed);
    refused("tokenizer.json", changed.dump(), code, part);
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(hf_tokenizer_test, fixture)

BOOST_AUTO_TEST_CASE(byte_level_bpe) {
  auto t = open(good);
  BOOST_TEST(t->encode("the <tool><|im_end|>", true, true) == (ids{257, ' ', 259, 258}),
             boost::test_tools::per_element());
  BOOST_TEST(t->data().pre == "gpt-2");
  BOOST_TEST(!t->data().eos.has_value());
}

BOOST_AUTO_TEST_CASE(sentencepiece) {
  auto t = open(sentencepiece_json());
  BOOST_TEST(t->encode("a a!", false, true) == (ids{1, 261, 261, 3 + '!'}),
             boost::test_tools::per_element());
  BOOST_TEST(t->decode(t->encode("a a!\n", false, true)) == "a a!\n");
}

BOOST_AUTO_TEST_CASE(the_companions_are_heard) {
  put("tokenizer_config.json",
      R"({"bos_token": {"content": "th"}, "eos_token": "<|im_end|>", "unk_token": null,
          "add_bos_token": true, "chat_template": [{"name": "tools", "template": "x"},
          {"name": "default", "template": "<|im_start|>"}]})");
  put("generation_config.json", R"({"eos_token_id": [258, 259, 7]})");
  auto d = open(good)->data();
  BOOST_TEST((d.bos == 256 && d.eos == 258 && d.eot == 259 && !d.unk && d.add_bos));
  BOOST_TEST(d.chat_template == "<|im_start|>");
  put("chat_template.jinja", "[INST]");
  BOOST_TEST(open(good)->data().chat_template == "<|im_start|>");
  std::filesystem::remove(folder / "tokenizer_config.json");
  BOOST_TEST(open(good)->data().chat_template == "[INST]");
}

BOOST_AUTO_TEST_CASE(ends_that_are_no_tokens_are_passed_over) {
  for (const char* ends : {"1e300", "-1", "260", "18446744073709551615", "7.5", "\"<|im_end|>\"",
                           "[[258]]", "[null]", "{}"}) {
    put("generation_config.json", R"({"eos_token_id": )" + std::string(ends) + "}");
    BOOST_TEST(!open(good)->data().eos.has_value(), ends);
  }
}

BOOST_AUTO_TEST_CASE(ids_that_fit_no_vocabulary) {
  for (const json_value& id : {json_value(-1), json_value(1 << 20), json_value(1ull << 63),
                               json_value(UINT64_MAX), json_value(1e300), json_value(3.5),
                               json_value("3"), json_value(nullptr), json_value::array()}) {
    refused([&](json_value& j) { j["model"]["vocab"]["th"] = id; },
            "the token id of 'th' is not an integer that fits", ec::bad_file);
    refused([&](json_value& j) { j["added_tokens"][1]["id"] = id; },
            "the token id of '<tool>' is not an integer that fits", ec::bad_file);
  }
}

BOOST_AUTO_TEST_CASE(files_that_are_no_such_json) {
  for (const char* text : {"{", "null", "[]", "7", "{}", "{\"model\": 7}", "{\"model\": {}}",
                           "{\"a\": \"\xff\"}", "{\"model\": {\"vocab\": {}, \"merges\": [[]]}}",
                           "{\"model\": {\"vocab\": {}, \"merges\": [[\"a\"]]}}",
                           "{\"model\": {\"vocab\": {}, \"merges\": 7}}"})
    refused("tokenizer.json", text, ec::bad_file, "");
  refused("tokenizer.json", R"({"model": 1, "model": 2})", ec::bad_file, "'model' appears twice");
  refused("tokenizer.json", std::string(100000, '['), ec::bad_file, "nested too deeply");
  for (const char* text : {"{", R"({"bos_token": 7})", R"({"bos_token": {"content": 7}})",
                           R"({"add_bos_token": "yes"})", R"({"chat_template": [{"name": 7}]})"})
    refused("tokenizer_config.json", text, ec::bad_file, "");
  refused("generation_config.json", "{", ec::bad_file, "parse error");
}

BOOST_AUTO_TEST_CASE(members_of_the_wrong_kind) {
  for (const char* key : {"model", "added_tokens", "pre_tokenizer", "normalizer"})
    for (const json_value& value : {json_value(7), json_value("x"), json_value::array({7})}) {
      auto changed = good;
      changed[key] = value;
      put("tokenizer.json", changed.dump());
      auto read = model::read_hf_tokenizer(folder);
      BOOST_REQUIRE_MESSAGE(!read.ok(), key << ": " << value.dump());
      BOOST_TEST(presentable(read.err().message, folder / "tokenizer.json"), read.err().message);
    }
}

BOOST_AUTO_TEST_CASE(cut_anywhere_it_is_refused) {
  const auto whole = good.dump();
  const auto path = folder / "tokenizer.json";
  for (size_t n = 0; n < whole.size(); n += 7) {
    put("tokenizer.json", std::string_view(whole).substr(0, n));
    check_refused(model::read_hf_tokenizer(folder), ec::bad_file, path, "");
  }
}

BOOST_AUTO_TEST_CASE(rules_that_are_not_done_exactly) {
  auto rule = [](const char* key, const char* value) {
    return [=](json_value& j) { j[key] = json_value::parse(value); };
  };
  refused(rule("normalizer", R"({"type": "Lowercase"})"),
          "the normalizer 'Lowercase' is not known");
  refused(rule("pre_tokenizer", R"({"type": "Whitespace"})"), "the pre_tokenizer 'Whitespace'");
  refused(rule("pre_tokenizer", "null"), "a tokenizer without pre_tokenizer");
  refused(rule("pre_tokenizer", R"({"type": "ByteLevel"})"), "add_prefix_space");
  refused(rule("pre_tokenizer", R"({"type": "Split", "behavior": "Isolated",
                                    "pattern": {"Regex": "(((a+)+)+)+$"}})"),
          "the pre_tokenizer Split by '(((a+)+)+)+$'");
  refused([](json_value& j) { j["model"]["type"] = "Unigram\n"; },
          "tokenizer model 'Unigram?' (BPE is supported)");
  refused([](json_value& j) { j["model"]["ignore_merges"] = true; }, "ignore_merges");
  refused([](json_value& j) { j["model"]["byte_fallback"] = true; }, "byte_fallback");
}

BOOST_AUTO_TEST_CASE(a_template_beyond_reason) {
  const auto path = folder / "chat_template.jinja";
  put("chat_template.jinja", "");
  std::filesystem::resize_file(path, uint64_t{1} << 40);
  put("tokenizer.json", good.dump());
  check_refused(model::read_hf_tokenizer(folder), ec::bad_file, path, "larger than");
}

BOOST_AUTO_TEST_CASE(more_values_than_any_model_has) {
  std::string zeros = "[0";
  for (int i = 0; i < 9'000'000; ++i)
    zeros += ",0";
  refused("tokenizer.json", zeros + "]", ec::bad_file, "more values than any model needs");
}

BOOST_AUTO_TEST_CASE(a_file_beyond_reason) {
  const auto path = put("tokenizer.json", "");
  std::filesystem::resize_file(path, uint64_t{1} << 40);
  check_refused(model::read_hf_tokenizer(folder), ec::bad_file, path, "larger than");
}

BOOST_AUTO_TEST_SUITE_END()
