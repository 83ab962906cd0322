#include "model/gguf_config.hpp"
#include "model/quoted.hpp"

#include <cmath>

namespace coel::model {

namespace {

constexpr std::string_view prefix = "tokenizer.ggml.";

std::string path(std::string_view key) {
  return std::string(prefix) + std::string(key);
}

/// Fills `into` if the key is there. Errors: bad_file (not a list of that kind).
template <class T>
result<void> read_list(const gguf_file& file, std::string_view key, std::vector<T>& into) {
  const auto* value = file.find(path(key));
  if (!value)
    return {};
  const auto* items = std::get_if<std::vector<T>>(value);
  if (!items)
    return {ec::bad_file, "metadata key '" + path(key) + "' is of the wrong kind"};
  into = *items;
  return {};
}

std::optional<int32_t> token_id(const gguf_file& file, std::string_view key) {
  auto v = file.number(path(key));
  return v && *v <= INT32_MAX ? std::optional(static_cast<int32_t>(*v)) : std::nullopt;
}

result<void> read_tokens(const gguf_file& file, tokenizer_data& d) {
  std::vector<double> scores;
  std::vector<int64_t> types;
  for (auto ok : {read_list(file, "tokens", d.tokens), read_list(file, "merges", d.merges),
                  read_list(file, "scores", scores), read_list(file, "token_type", types)})
    if (!ok)
      return ok;
  if (d.tokens.empty())
    return {ec::bad_file, "metadata key '" + path("tokens") + "' is missing or empty"};
  d.scores.reserve(scores.size());
  for (auto x : scores) {
    if (std::isnan(x))
      return {ec::bad_file, "a token's score is not a number (" + path("scores") + ")"};
    d.scores.push_back(static_cast<float>(x));
  }
  d.types.reserve(types.size());
  for (auto x : types)
    d.types.push_back(x >= 1 && x <= 6 ? static_cast<token_type>(x) : token_type::normal);
  return {};
}

/// Begin-of-text is added where the file does not say: by SentencePiece models, and by those that
/// have the pre-tokenizer of Llama 3.
bool adds_bos(const tokenizer_data& d) {
  return d.kind == tokenizer_data::algorithm::spm || d.pre == "llama-bpe" || d.pre == "llama3" ||
         d.pre == "llama-v3";
}

} // namespace

result<tokenizer_data> gguf_vocabulary(const gguf_file& file) {
  tokenizer_data d;
  const auto* model = file.text(path("model"));
  if (!model || (*model != "gpt2" && *model != "llama"))
    return {ec::unsupported, "tokenizer " + in_quotes(model ? *model : std::string("(none)")) +
                                 " is not one of gpt2 and llama"};
  d.kind = *model == "gpt2" ? tokenizer_data::algorithm::bpe : tokenizer_data::algorithm::spm;
  if (const auto* pre = file.text(path("pre")))
    d.pre = *pre;
  if (auto ok = read_tokens(file, d); !ok)
    return ok.err();
  d.bos = token_id(file, "bos_token_id");
  d.eos = token_id(file, "eos_token_id");
  d.eot = token_id(file, "eot_token_id");
  d.unk = token_id(file, "unknown_token_id");
  d.pad = token_id(file, "padding_token_id");
  d.add_bos = file.flag(path("add_bos_token")).value_or(adds_bos(d));
  d.add_eos = file.flag(path("add_eos_token")).value_or(false);
  d.add_space_prefix = file.flag(path("add_space_prefix")).value_or(true);
  if (const auto* chat = file.text("tokenizer.chat_template"))
    d.chat_template = *chat;
  return d;
}

} // namespace coel::model
