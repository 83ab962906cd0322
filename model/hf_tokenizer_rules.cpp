#include "model/hf_tokenizer_rules.hpp"

#include "model/pretokenizer.hpp"
#include "model/quoted.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace coel::model {

namespace {

using nlohmann::json;

constexpr const char* space_mark = "\xe2\x96\x81"; // U+2581

/// The steps under `key`: a Sequence's members (`inside`), or the one step itself.
std::vector<const json*> steps(const json& tokenizer, const char* key, const char* inside) {
  const auto* top = member(tokenizer, key);
  if (!top)
    return {};
  if (text(*top, "type") != "Sequence")
    return {top};
  std::vector<const json*> all;
  for (const auto& step : top->at(inside))
    all.push_back(&step);
  return all;
}

result<void> unknown_step(const std::string& what) {
  return {ec::unsupported, what +
                               " is not known here: the pre-tokenizers are qwen2, llama-bpe, gpt-2 "
                               "and olmo; a GGUF file of the model may work"};
}

/// A Split that keeps the matches as words, with one of the known patterns.
result<void> read_split(const json& step, tokenizer_data& data) {
  const auto* pattern = member(step, "pattern");
  const auto regex = pattern ? text(*pattern, "Regex") : std::string{};
  const auto name = pretokenizer::name_of(regex);
  if (name.empty() || text(step, "behavior") != "Isolated" || flag(step, "invert", false))
    return unknown_step("the pre_tokenizer Split by " + in_quotes(regex));
  if (!data.pre.empty())
    return unknown_step("a pre_tokenizer that cuts twice");
  data.pre = name;
  return {};
}

result<void> read_byte_level(const json& step, tokenizer_data& data) {
  if (flag(step, "add_prefix_space", true))
    return unknown_step("the pre_tokenizer ByteLevel with add_prefix_space");
  if (!flag(step, "use_regex", true))
    return {};
  if (!data.pre.empty())
    return unknown_step("a pre_tokenizer that cuts twice");
  data.pre = "gpt-2";
  return {};
}

/// Whether the piece is a special token; `id` becomes its id.
bool special_at(const json& piece, const tokenizer_data& data, std::optional<int32_t>& id) {
  const auto* special = member(piece, "SpecialToken");
  if (!special)
    return false;
  const auto found = std::find(data.tokens.begin(), data.tokens.end(), text(*special, "id"));
  if (found != data.tokens.end())
    id = static_cast<int32_t>(found - data.tokens.begin());
  return true;
}

} // namespace

const json* member(const json& object, const char* key) {
  if (!object.is_object())
    return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool flag(const json& object, const char* key, bool otherwise) {
  const auto* m = member(object, key);
  return m ? m->get<bool>() : otherwise;
}

std::string text(const json& object, const char* key, const std::string& otherwise) {
  const auto* m = member(object, key);
  return m ? m->get<std::string>() : otherwise;
}

result<void> read_byte_level_rules(const json& tokenizer, tokenizer_data& data) {
  for (const auto* step : steps(tokenizer, "normalizer", "normalizers"))
    if (text(*step, "type") != "NFC")
      return unknown_step("the normalizer " + in_quotes(text(*step, "type")));
  for (const auto* step : steps(tokenizer, "pre_tokenizer", "pretokenizers")) {
    const auto type = text(*step, "type");
    auto ok = type == "Split"       ? read_split(*step, data)
              : type == "ByteLevel" ? read_byte_level(*step, data)
                                    : unknown_step("the pre_tokenizer " + in_quotes(type));
    if (!ok)
      return ok;
  }
  if (data.pre.empty())
    return unknown_step("a tokenizer without pre_tokenizer");
  const auto* model = member(tokenizer, "model");
  if (model && flag(*model, "ignore_merges", false) && !pretokenizer::whole_words_first(data.pre))
    return unknown_step("ignore_merges with the pre-tokenizer " + data.pre);
  return {};
}

result<void> read_sentencepiece_rules(const json& tokenizer, tokenizer_data& data) {
  bool marks_spaces = false;
  data.add_space_prefix = false;
  for (const auto* step : steps(tokenizer, "normalizer", "normalizers")) {
    const auto type = text(*step, "type");
    if (type == "Prepend" && text(*step, "prepend") == space_mark)
      data.add_space_prefix = true;
    else if (type == "Replace" && text(*step, "content") == space_mark)
      marks_spaces = true;
    else
      return {ec::unsupported,
              "the normalizer " + in_quotes(type) + " of a tokenizer with byte_fallback"};
  }
  for (const auto* step : steps(tokenizer, "pre_tokenizer", "pretokenizers")) {
    if (text(*step, "type") != "Metaspace" || text(*step, "replacement") != space_mark ||
        flag(*step, "split", true))
      return {ec::unsupported, "the pre_tokenizer " + in_quotes(text(*step, "type")) +
                                   " of a tokenizer with byte_fallback"};
    marks_spaces = true;
    data.add_space_prefix =
        flag(*step, "add_prefix_space", true) && text(*step, "prepend_scheme", "always") != "never";
  }
  if (!marks_spaces)
    return {ec::unsupported, "a tokenizer with byte_fallback that does not write spaces as U+2581"};
  return {};
}

void read_marks(const json& tokenizer, tokenizer_data& data) {
  for (const auto* step : steps(tokenizer, "post_processor", "processors")) {
    if (text(*step, "type") != "TemplateProcessing")
      continue;
    const auto* single = member(*step, "single");
    if (!single || !single->is_array() || single->empty())
      continue;
    data.add_bos = special_at(single->front(), data, data.bos);
    data.add_eos = single->size() > 1 && special_at(single->back(), data, data.eos);
  }
}

} // namespace coel::model
