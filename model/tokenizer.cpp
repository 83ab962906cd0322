#include "model/tokenizer_base.hpp"

#include <algorithm>
#include <array>

namespace coel::model {

namespace {

constexpr std::array<std::string_view, 6> end_names{
    "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<|end|>"};

bool is_special(const tokenizer_data& data, int32_t id) {
  const auto i = static_cast<size_t>(id);
  return i < data.types.size() &&
         (data.types[i] == token_type::control || data.types[i] == token_type::user_defined);
}

/// Errors: bad_file. What the constructors rely on, for a vocabulary from any file.
result<void> check(const tokenizer_data& data) {
  const auto count = data.tokens.size();
  const auto size = std::to_string(count);
  if (count == 0)
    return {ec::bad_file, "the vocabulary is empty"};
  if (count > INT32_MAX || data.merges.size() > INT32_MAX)
    return {ec::bad_file, "the vocabulary is too large: " + size + " tokens"};
  if (!data.types.empty() && data.types.size() != count)
    return {ec::bad_file, "the vocabulary has " + size + " tokens and " +
                              std::to_string(data.types.size()) + " token types"};
  if (!data.scores.empty() && data.scores.size() != count)
    return {ec::bad_file, "the vocabulary has " + size + " tokens and " +
                              std::to_string(data.scores.size()) + " scores"};
  for (auto id : {data.bos, data.eos, data.eot, data.unk, data.pad})
    if (id && (*id < 0 || static_cast<size_t>(*id) >= count))
      return {ec::bad_file, "special token " + std::to_string(*id) +
                                " is outside the vocabulary of " + size + " tokens"};
  return {};
}

} // namespace

std::string tokenizer::decode(std::span<const int32_t> ids, bool show_control) const {
  // encode puts a space before each text of a SentencePiece model; here it goes again.
  const bool prefixed = data().kind == tokenizer_data::algorithm::spm && data().add_space_prefix;
  std::string text;
  bool first = true;
  for (int32_t id : ids) {
    auto bytes = piece(id, show_control);
    const bool special = is_special(data(), id);
    if (prefixed && first && !special && bytes.starts_with(' '))
      bytes.erase(0, 1);
    text += bytes;
    first = special;
  }
  return text;
}

tokenizer_base::tokenizer_base(tokenizer_data data) : data_(std::move(data)), special_(data_) {
  for (auto id : {data_.eos, data_.eot})
    if (id)
      ends_.insert(*id);
  for (size_t id = 0; id < data_.types.size(); ++id)
    if (data_.types[id] == token_type::control &&
        std::find(end_names.begin(), end_names.end(), data_.tokens[id]) != end_names.end())
      ends_.insert(static_cast<int32_t>(id));
}

std::vector<int32_t> tokenizer_base::encode(std::string_view text, bool special,
                                            bool add_marks) const {
  std::vector<int32_t> ids;
  if (add_marks && data_.add_bos && data_.bos)
    ids.push_back(*data_.bos);
  for (const auto& p : special_.split(text, special))
    if (p.id >= 0)
      ids.push_back(p.id);
    else
      encode_text(p.text, ids);
  if (add_marks && data_.add_eos && data_.eos)
    ids.push_back(*data_.eos);
  return ids;
}

std::vector<int32_t> tokenizer_base::encode(std::span<const text_part> parts) const {
  std::vector<int32_t> ids;
  std::string ordinary;
  auto flush = [&] {
    if (!ordinary.empty())
      encode_text(ordinary, ids);
    ordinary.clear();
  };
  for (const auto& part : parts)
    for (const auto& p : special_.split(part.text, part.special)) {
      if (p.id < 0) {
        ordinary += p.text;
        continue;
      }
      flush();
      ids.push_back(p.id);
    }
  flush();
  return ids;
}

token_type tokenizer_base::type_of(int32_t id) const {
  auto i = static_cast<size_t>(id);
  return i < data_.types.size() ? data_.types[i] : token_type::normal;
}

std::string tokenizer_base::piece(int32_t id, bool show_control) const {
  if (id < 0 || static_cast<size_t>(id) >= data_.tokens.size())
    return {};
  switch (type_of(id)) {
  case token_type::control:
    return show_control ? data_.tokens[static_cast<size_t>(id)] : std::string{};
  case token_type::user_defined:
    return data_.tokens[static_cast<size_t>(id)];
  case token_type::unused:
    return {};
  default:
    return bytes_of(id);
  }
}

result<tokenizer_ptr> make_tokenizer(tokenizer_data data) {
  if (auto ok = check(data); !ok)
    return ok.err();
  return data.kind == tokenizer_data::algorithm::bpe ? make_bpe(std::move(data))
                                                     : make_spm(std::move(data));
}

} // namespace coel::model
