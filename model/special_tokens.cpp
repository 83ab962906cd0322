#include "model/special_tokens.hpp"

#include <algorithm>

namespace coel::model {

special_tokens::special_tokens(const tokenizer_data& data) {
  for (size_t id = 0; id < data.types.size() && id < data.tokens.size(); ++id) {
    bool control = data.types[id] == token_type::control;
    const auto& text = data.tokens[id];
    if (text.empty() || text.size() > longest ||
        (!control && data.types[id] != token_type::user_defined))
      continue;
    by_text_.emplace(text, entry{static_cast<int32_t>(id), control});
    auto& lengths = lengths_[static_cast<uint8_t>(text[0])];
    if (std::find(lengths.begin(), lengths.end(), text.size()) == lengths.end())
      lengths.push_back(text.size());
  }
  for (auto& lengths : lengths_)
    std::sort(lengths.rbegin(), lengths.rend());
}

std::vector<special_tokens::piece> special_tokens::split(std::string_view text,
                                                         bool control) const {
  std::vector<piece> pieces;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    for (size_t n : lengths_[static_cast<uint8_t>(text[at])]) {
      if (n > text.size() - at)
        continue;
      auto found = by_text_.find(text.substr(at, n));
      if (found == by_text_.end() || (found->second.control && !control))
        continue;
      if (at > begin)
        pieces.push_back({text.substr(begin, at - begin)});
      pieces.push_back({text.substr(at, n), found->second.id});
      length = n;
      break;
    }
    at += std::max<size_t>(length, 1);
    if (length)
      begin = at;
  }
  if (begin < text.size())
    pieces.push_back({text.substr(begin)});
  return pieces;
}

} // namespace coel::model
