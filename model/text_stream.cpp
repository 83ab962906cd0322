#include "model/text_stream.hpp"

#include "model/utf8.hpp"

#include <algorithm>

namespace coel::model {

namespace {

/// Bytes at the end of `s` that begin a character which is not complete yet.
size_t cut_character(std::string_view s) {
  for (size_t n = 1; n <= 3 && n <= s.size(); ++n) {
    bool cut = false;
    utf8_length(s, s.size() - n, &cut);
    if (cut)
      return n;
  }
  return 0;
}

/// Longest end of `s` that begins one of the stop strings.
size_t begun_stop(std::string_view s, const std::vector<std::string>& stop) {
  size_t longest = 0;
  for (const auto& w : stop)
    for (size_t n = std::min(s.size(), w.size() - 1); n > longest; --n)
      if (s.substr(s.size() - n) == std::string_view(w).substr(0, n))
        longest = n;
  return longest;
}

std::string repaired(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    size_t n = utf8_length(s, i);
    if (n == 0) {
      append_utf8(out, 0xfffd);
      ++i;
    } else {
      out.append(s.substr(i, n));
      i += n;
    }
  }
  return out;
}

} // namespace

text_stream::text_stream(tokenizer_ptr tokenizer, std::vector<std::string> stop)
    : tokenizer_(std::move(tokenizer)), stop_(std::move(stop)) {
  std::erase(stop_, std::string{});
}

text_stream::step text_stream::push(int32_t id) {
  held_ += tokenizer_->piece(id);
  size_t first = std::string::npos;
  for (const auto& w : stop_)
    first = std::min(first, held_.find(w));
  if (first != std::string::npos) {
    auto text = repaired(std::string_view(held_).substr(0, first));
    held_.clear();
    return {std::move(text), true};
  }
  size_t shown = held_.size() - std::max(cut_character(held_), begun_stop(held_, stop_));
  // A stop string that is no UTF-8 may begin in the middle of a character.
  shown -= cut_character(std::string_view(held_).substr(0, shown));
  auto text = repaired(std::string_view(held_).substr(0, shown));
  held_.erase(0, shown);
  return {std::move(text), false};
}

std::string text_stream::finish() {
  return repaired(std::exchange(held_, {}));
}

} // namespace coel::model
