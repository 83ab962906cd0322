#include "model/text_stream.hpp"

#include "model/unicode.hpp"

#include <algorithm>

namespace coel::model {

namespace {

/// Longest end of `text` that is a proper beginning of `stop`.
size_t overlap(std::string_view text, std::string_view stop) {
  for (auto n = std::min(text.size(), stop.size() - 1); n > 0; --n)
    if (text.ends_with(stop.substr(0, n)))
      return n;
  return 0;
}

} // namespace

text_stream::text_stream(tokenizer_ptr tokenizer, std::vector<std::string> stop)
    : tokenizer_(std::move(tokenizer)), stop_(std::move(stop)) {
  std::erase_if(stop_, [](const std::string& s) { return s.empty(); });
}

text_stream::step text_stream::push(int32_t id) {
  held_ += tokenizer_->piece(id);
  auto end = std::string::npos;
  for (const auto& s : stop_)
    end = std::min(end, held_.find(s));
  if (end != std::string::npos) {
    auto text = replace_invalid_utf8(std::string_view(held_).substr(0, end));
    held_.clear();
    return {std::move(text), true};
  }
  size_t keep = incomplete_utf8_tail(held_);
  for (const auto& s : stop_)
    keep = std::max(keep, overlap(held_, s));
  auto shown = held_.size() - keep;
  // A stop string may begin inside a character that is not whole yet, or that never becomes whole.
  shown -= incomplete_utf8_tail(std::string_view(held_).substr(0, shown));
  auto text = replace_invalid_utf8(std::string_view(held_).substr(0, shown));
  held_.erase(0, shown);
  return {std::move(text), false};
}

std::string text_stream::finish() {
  auto text = replace_invalid_utf8(held_);
  held_.clear();
  return text;
}

} // namespace coel::model
