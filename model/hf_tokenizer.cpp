#include "model/hf_tokenizer.hpp"

#include "model/hf_tokenizer_rules.hpp"
#include "model/json.hpp"
#include "model/mapped_file.hpp"
#include "model/quoted.hpp"

#include <algorithm>
#include <map>

namespace coel::model {

namespace {

using nlohmann::json;

constexpr size_t max_template_bytes = 4 << 20;

/// -1, which is no token, for anything but an integer in range.
int64_t id_in(const json& value) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  return fits ? value.get<int64_t>() : -1;
}

/// One more than the largest id that a file of so many entries may use: ids may have holes, but not
/// so many that a small file takes much memory.
size_t id_limit(const json& model, const json* added) {
  return 4 * (model.at("vocab").size() + (added ? added->size() : 0)) + 1024;
}

result<void> put(tokenizer_data& d, size_t limit, const std::string& content, int64_t id,
                 token_type type) {
  if (id < 0 || static_cast<uint64_t>(id) >= limit)
    return {ec::bad_file, "the token id of " + in_quotes(content) +
                              " is not an integer that fits a vocabulary of this size"};
  auto i = static_cast<size_t>(id);
  if (i >= d.tokens.size()) {
    d.tokens.resize(i + 1);
    d.types.resize(i + 1, token_type::unused);
  }
  d.tokens[i] = content;
  d.types[i] = type;
  return {};
}

/// Merges come as "left right" or as ["left", "right"].
void read_merges(const json& model, tokenizer_data& d) {
  for (const auto& m : model.at("merges"))
    d.merges.push_back(m.is_string()
                           ? m.get<std::string>()
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

std::optional<int32_t> id_of(const tokenizer_data& d, const std::string& content) {
  auto found = std::find(d.tokens.begin(), d.tokens.end(), content);
  if (content.empty() || found == d.tokens.end())
    return std::nullopt;
  return static_cast<int32_t>(found - d.tokens.begin());
}

/// Byte tokens are known by their text: <0x00> to <0xFF>.
void mark_byte_tokens(tokenizer_data& d) {
  for (size_t i = 0; i < d.tokens.size(); ++i)
    if (d.tokens[i].size() == 6 && d.tokens[i].starts_with("<0x") && d.tokens[i].ends_with('>'))
      d.types[i] = token_type::byte;
}

result<void> read_vocabulary(const json& model, const json* added, tokenizer_data& d) {
  const auto limit = id_limit(model, added);
  for (const auto& [content, id] : model.at("vocab").items())
    if (auto ok = put(d, limit, content, id_in(id), token_type::normal); !ok)
      return ok;
  read_merges(model, d);
  if (flag(model, "byte_fallback", false)) {
    scores_from_merges(d);
    mark_byte_tokens(d);
  }
  if (!added)
    return {};
  for (const auto& a : *added) {
    const auto type = flag(a, "special", false) ? token_type::control : token_type::user_defined;
    const auto content = a.at("content").get<std::string>();
    if (auto ok = put(d, limit, content, id_in(a.at("id")), type); !ok)
      return ok;
  }
  return {};
}

result<void> read_tokenizer(const json& j, tokenizer_data& d) {
  const auto& model = j.at("model");
  if (const auto type = text(model, "type", "BPE"); type != "BPE")
    return {ec::unsupported, "tokenizer model " + in_quotes(type) + " (BPE is supported)"};
  if (auto ok = read_vocabulary(model, member(j, "added_tokens"), d); !ok)
    return ok;
  if (const auto unknown = text(model, "unk_token"); !unknown.empty())
    d.unk = id_of(d, unknown);
  const bool spm = d.kind == tokenizer_data::algorithm::spm;
  if (spm)
    d.scores.resize(d.tokens.size(), 0.f);
  d.add_bos = spm;
  read_marks(j, d);
  return spm ? read_sentencepiece_rules(j, d) : read_byte_level_rules(j, d);
}

/// A template as text, or a list of named ones, of which "default" is taken.
std::string chat_template_of(const json& chat) {
  if (chat.is_string())
    return chat.get<std::string>();
  for (const auto& named : chat)
    if (text(named, "name") == "default")
      return text(named, "template");
  return {};
}

void read_config(const json& j, tokenizer_data& d) {
  auto set = [&](const char* key, std::optional<int32_t>& id) {
    if (const auto* m = member(j, key))
      if (auto named = id_of(d, m->is_object() ? text(*m, "content") : m->get<std::string>()))
        id = named;
  };
  set("bos_token", d.bos);
  set("eos_token", d.eos);
  set("unk_token", d.unk);
  set("pad_token", d.pad);
  d.add_bos = flag(j, "add_bos_token", d.add_bos);
  d.add_eos = flag(j, "add_eos_token", d.add_eos);
  if (const auto* chat = member(j, "chat_template"))
    d.chat_template = chat_template_of(*chat);
}

/// Generation may end at other tokens than the tokenizer's eos; the first of those becomes eot.
void read_generation(const json& j, tokenizer_data& d) {
  const auto* ends = member(j, "eos_token_id");
  if (!ends)
    return;
  for (const auto& end : ends->is_array() ? *ends : json::array({*ends})) {
    const auto id = id_in(end);
    if (id < 0 || static_cast<uint64_t>(id) >= d.tokens.size())
      continue;
    if (!d.eos)
      d.eos = static_cast<int32_t>(id);
    else if (!d.eot && *d.eos != id)
      d.eot = static_cast<int32_t>(id);
  }
}

bool present(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Newer directories keep the template in a file of its own.
result<void> read_template_file(const std::filesystem::path& path, tokenizer_data& d) {
  if (!d.chat_template.empty() || !present(path))
    return {};
  auto file = mapped_file::open(path);
  if (!file)
    return file.err();
  const auto bytes = (*file)->bytes();
  if (bytes.size() > max_template_bytes)
    return {ec::bad_file,
            path.string() + ": larger than " + std::to_string(max_template_bytes) + " bytes"};
  d.chat_template.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {};
}

/// Runs a reader over a file; what nlohmann throws becomes bad_file.
template <class Read>
result<void> over(const std::filesystem::path& path, bool required, Read read) {
  if (!required && !present(path))
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
    return {ec::bad_file, path.string() + ": " + printable(e.what(), 300)};
  }
}

} // namespace

result<tokenizer_data> read_hf_tokenizer(const std::filesystem::path& directory) {
  tokenizer_data d;
  if (auto ok = over(directory / "tokenizer.json", true,
                     [&](const json& j) { return read_tokenizer(j, d); });
      !ok)
    return ok.err();
  if (auto ok = over(directory / "tokenizer_config.json", false,
                     [&](const json& j) { read_config(j, d); });
      !ok)
    return ok.err();
  if (auto ok = over(directory / "generation_config.json", false,
                     [&](const json& j) { read_generation(j, d); });
      !ok)
    return ok.err();
  if (auto ok = read_template_file(directory / "chat_template.jinja", d); !ok)
    return ok.err();
  return d;
}

} // namespace coel::model
