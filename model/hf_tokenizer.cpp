#include "model/hf_tokenizer.hpp"

#include "model/json.hpp"

#include <algorithm>
#include <map>

namespace coel::model {

namespace {

using nlohmann::json;

constexpr size_t max_vocabulary = 1 << 22;

/// All regular expressions in a pre_tokenizer, wherever they are nested.
void find_patterns(const json& j, std::vector<std::string>& into, bool& byte_level) {
  if (j.is_array())
    for (const auto& item : j)
      find_patterns(item, into, byte_level);
  if (!j.is_object())
    return;
  auto type = j.value("type", "");
  if (type == "ByteLevel")
    byte_level = byte_level || j.value("use_regex", true);
  if (type == "Split" && j.contains("pattern") && j["pattern"].is_object() && j["pattern"].contains("Regex"))
    into.push_back(j["pattern"]["Regex"].get<std::string>());
  if (j.contains("pretokenizers"))
    find_patterns(j["pretokenizers"], into, byte_level);
}

/// The families' patterns differ in how digits are cut; what else they differ in follows from that.
result<std::string> pre_tokenizer_name(const json& tokenizer) {
  std::vector<std::string> patterns;
  bool gpt2 = false;
  if (tokenizer.contains("pre_tokenizer"))
    find_patterns(tokenizer["pre_tokenizer"], patterns, gpt2);
  if (patterns.empty() && gpt2)
    return std::string("gpt-2");
  if (patterns.size() == 1 && patterns[0].find(R"([^\r\n\p{L}\p{N}]?\p{L}+)") != std::string::npos) {
    if (patterns[0].find(R"(\p{N}{1,3})") != std::string::npos)
      return std::string("llama-bpe");
    if (patterns[0].find(R"(|\p{N}|)") != std::string::npos)
      return std::string("qwen2");
  }
  return {ec::unsupported, "this pre_tokenizer is not one of qwen2, llama-bpe, gpt-2 and olmo; a GGUF of the model may name it"};
}

result<void> put(tokenizer_data& d, const std::string& text, int64_t id, token_type type) {
  if (id < 0 || static_cast<size_t>(id) >= max_vocabulary)
    return {ec::bad_file, "token id " + std::to_string(id) + " is out of range"};
  auto i = static_cast<size_t>(id);
  if (i >= d.tokens.size()) {
    d.tokens.resize(i + 1);
    d.types.resize(i + 1, token_type::unused);
  }
  d.tokens[i] = text;
  d.types[i] = type;
  return {};
}

/// Merges come as "left right" or as ["left", "right"].
void read_merges(const json& model, tokenizer_data& d) {
  for (const auto& m : model.at("merges"))
    d.merges.push_back(m.is_string() ? m.get<std::string>()
                                     : m.at(0).get<std::string>() + " " + m.at(1).get<std::string>());
}

/// SentencePiece models converted to BPE keep the order of merges but not the scores: a token's
/// score is then the rank at which it is first made.
void scores_from_merges(tokenizer_data& d) {
  d.kind = tokenizer_data::algorithm::spm;
  d.scores.assign(d.tokens.size(), -1e9f);
  std::map<std::string, size_t> ids;
  for (size_t i = 0; i < d.tokens.size(); ++i)
    ids.emplace(d.tokens[i], i);
  for (size_t rank = 0; rank < d.merges.size(); ++rank) {
    auto made = d.merges[rank];
    if (auto space = made.find(' ', 1); space != std::string::npos)
      made.erase(space, 1);
    if (auto found = ids.find(made); found != ids.end() && d.scores[found->second] == -1e9f)
      d.scores[found->second] = -static_cast<float>(rank);
  }
}

result<void> read_tokenizer(const json& j, tokenizer_data& d) {
  const auto& model = j.at("model");
  if (model.value("type", "BPE") != "BPE")
    return {ec::unsupported, "tokenizer model '" + model.value("type", "?") + "' (BPE is supported)"};
  bool fallback = model.value("byte_fallback", false);
  for (const auto& [text, id] : model.at("vocab").items())
    if (auto ok = put(d, text, id.get<int64_t>(), token_type::normal); !ok)
      return ok;
  read_merges(model, d);
  if (fallback) {
    scores_from_merges(d);
    for (size_t i = 0; i < d.tokens.size(); ++i)
      if (d.tokens[i].size() == 6 && d.tokens[i].starts_with("<0x"))
        d.types[i] = token_type::byte;
  } else {
    auto name = pre_tokenizer_name(j);
    if (!name)
      return name.err();
    d.pre = *name;
  }
  for (const auto& added : j.value("added_tokens", json::array()))
    if (auto ok = put(d, added.at("content").get<std::string>(), added.at("id").get<int64_t>(),
                      added.value("special", false) ? token_type::control : token_type::user_defined);
        !ok)
      return ok;
  if (!d.scores.empty())
    d.scores.resize(d.tokens.size(), 0.f);
  return {};
}

std::optional<int32_t> id_of(const tokenizer_data& d, const json& j) {
  std::string text = j.is_string() ? j.get<std::string>() : j.is_object() ? j.value("content", "") : "";
  auto found = std::find(d.tokens.begin(), d.tokens.end(), text);
  if (text.empty() || found == d.tokens.end())
    return std::nullopt;
  return static_cast<int32_t>(found - d.tokens.begin());
}

void read_config(const json& j, tokenizer_data& d) {
  auto id = [&](const char* key) { return j.contains(key) ? id_of(d, j[key]) : std::nullopt; };
  d.bos = id("bos_token");
  d.eos = id("eos_token");
  d.unk = id("unk_token");
  d.pad = id("pad_token");
  d.add_bos = j.value("add_bos_token", d.kind == tokenizer_data::algorithm::spm);
  d.add_eos = j.value("add_eos_token", false);
  if (!j.contains("chat_template"))
    return;
  const auto& chat = j["chat_template"];
  if (chat.is_string())
    d.chat_template = chat.get<std::string>();
  if (chat.is_array())
    for (const auto& named : chat)
      if (named.value("name", "") == "default")
        d.chat_template = named.value("template", "");
}

/// The end that generation really uses, where it differs from the tokenizer's eos.
void read_generation(const json& j, tokenizer_data& d) {
  if (!j.contains("eos_token_id"))
    return;
  const auto& e = j["eos_token_id"];
  auto first = e.is_array() && !e.empty() ? e[0] : e;
  if (first.is_number_integer()) {
    auto id = first.get<int64_t>();
    if (id >= 0 && static_cast<size_t>(id) < d.tokens.size())
      d.eot = static_cast<int32_t>(id);
  }
}

/// Runs a reader over a file; what nlohmann throws becomes bad_file.
template <class Read>
result<void> over(const std::filesystem::path& path, bool required, Read read) {
  if (!required && !std::filesystem::exists(path))
    return {};
  auto parsed = read_json(path);
  if (!parsed)
    return parsed.err();
  try {
    if constexpr (std::is_void_v<decltype(read(*parsed))>) {
      read(*parsed);
      return {};
    } else {
      auto ok = read(*parsed);
      return ok ? ok : result<void>{ok.err().code, path.string() + ": " + ok.err().message};
    }
  } catch (const std::exception& e) {
    return {ec::bad_file, path.string() + ": " + e.what()};
  }
}

} // namespace

result<tokenizer_data> read_hf_tokenizer(const std::filesystem::path& directory) {
  tokenizer_data d;
  if (auto ok = over(directory / "tokenizer.json", true, [&](const json& j) { return read_tokenizer(j, d); }); !ok)
    return ok.err();
  if (auto ok = over(directory / "tokenizer_config.json", false, [&](const json& j) { read_config(j, d); }); !ok)
    return ok.err();
  if (auto ok = over(directory / "generation_config.json", false, [&](const json& j) { read_generation(j, d); }); !ok)
    return ok.err();
  return d;
}

} // namespace coel::model
