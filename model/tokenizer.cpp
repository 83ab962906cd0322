#include "model/tokenizer_base.hpp"

#include <algorithm>
#include <array>

namespace coel::model {

namespace {

constexpr std::array<std::string_view, 6> end_names{"<|im_end|>", "<|eot_id|>", "<|endoftext|>",
                                                    "<|end_of_text|>", "</s>", "<|end|>"};

} // namespace

std::string tokenizer::decode(std::span<const int32_t> ids, bool show_control) const {
  std::string text;
  for (int32_t id : ids)
    text += piece(id, show_control);
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

std::vector<int32_t> tokenizer_base::encode(std::string_view text, bool special, bool add_marks) const {
  std::vector<int32_t> ids;
  if (add_marks && data_.add_bos && data_.bos)
    ids.push_back(*data_.bos);
  bool first = true;
  for (const auto& p : special_.split(text, special)) {
    if (p.id >= 0)
      ids.push_back(p.id);
    else
      encode_text(p.text, first, ids);
    first = p.id >= 0;
  }
  if (add_marks && data_.add_eos && data_.eos)
    ids.push_back(*data_.eos);
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
    case token_type::control: return show_control ? data_.tokens[static_cast<size_t>(id)] : std::string{};
    case token_type::user_defined: return data_.tokens[static_cast<size_t>(id)];
    case token_type::unused: return {};
    default: return bytes_of(id);
  }
}

result<tokenizer_ptr> make_tokenizer(tokenizer_data data) {
  if (data.tokens.empty() || data.tokens.size() > INT32_MAX)
    return {ec::bad_file, "the vocabulary is empty"};
  if (!data.types.empty() && data.types.size() != data.tokens.size())
    return {ec::bad_file, "the vocabulary has " + std::to_string(data.tokens.size()) + " tokens and " +
                              std::to_string(data.types.size()) + " token types"};
  if (!data.scores.empty() && data.scores.size() != data.tokens.size())
    return {ec::bad_file, "the vocabulary has " + std::to_string(data.tokens.size()) + " tokens and " +
                              std::to_string(data.scores.size()) + " scores"};
  for (auto id : {data.bos, data.eos, data.eot, data.unk, data.pad})
    if (id && (*id < 0 || static_cast<size_t>(*id) >= data.tokens.size()))
      return {ec::bad_file, "special token " + std::to_string(*id) + " is outside the vocabulary"};
  return data.kind == tokenizer_data::algorithm::bpe ? make_bpe(std::move(data)) : make_spm(std::move(data));
}

} // namespace coel::model
