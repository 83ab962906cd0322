// SentencePiece BPE (Kudo and Richardson, 2018): characters merge by the score of the token that they
// form; what no token covers becomes byte tokens.
#include "model/merge_queue.hpp"
#include "model/tokenizer_base.hpp"
#include "model/utf8.hpp"

#include <array>
#include <cstdio>
#include <unordered_map>

namespace coel::model {

namespace {

constexpr std::string_view space_mark = "\xe2\x96\x81";   // U+2581

std::string byte_text(uint32_t b) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", b);
  return text;
}

class spm : public tokenizer_base {
 public:
  explicit spm(tokenizer_data data) : tokenizer_base(std::move(data)) {
    for (size_t id = 0; id < data_.tokens.size(); ++id)
      by_text_.emplace(data_.tokens[id], static_cast<int32_t>(id));
    for (uint32_t b = 0; b < 256; ++b) {
      auto found = by_text_.find(byte_text(b));
      byte_token_[b] = found != by_text_.end() ? found->second : data_.unk.value_or(-1);
      if (found != by_text_.end())
        byte_of_[found->second] = static_cast<char>(b);
    }
  }

 protected:
  struct span {
    uint32_t begin, end;
  };

  void encode_text(std::string_view text, bool first, std::vector<int32_t>& into) const override {
    std::string marked;
    if (first && data_.add_space_prefix)
      marked += space_mark;
    for (char c : text)
      if (c == ' ')
        marked += space_mark;
      else
        marked.push_back(c);
    std::vector<span> symbols;
    for (uint32_t i = 0; i < marked.size();) {
      auto n = static_cast<uint32_t>(std::max<size_t>(1, utf8_length(marked, i)));
      symbols.push_back({i, i + n});
      i += n;
    }
    std::string joined;
    auto best = [&](span left, span right) -> std::optional<std::pair<double, span>> {
      joined.assign(marked, left.begin, right.end - left.begin);
      auto found = by_text_.find(joined);
      if (found == by_text_.end())
        return std::nullopt;
      return std::pair{-double{score(found->second)}, span{left.begin, right.end}};
    };
    for (auto s : merge_all(std::move(symbols), best))
      put(marked.substr(s.begin, s.end - s.begin), into);
  }

  std::string bytes_of(int32_t id) const override {
    if (auto found = byte_of_.find(id); found != byte_of_.end())
      return {found->second};
    std::string text = data_.tokens[static_cast<size_t>(id)];
    for (size_t at = 0; (at = text.find(space_mark, at)) != std::string::npos;)
      text.replace(at++, space_mark.size(), " ");
    return text;
  }

 private:
  float score(int32_t id) const {
    auto i = static_cast<size_t>(id);
    return i < data_.scores.size() ? data_.scores[i] : 0.f;
  }

  void put(const std::string& text, std::vector<int32_t>& into) const {
    if (auto found = by_text_.find(text); found != by_text_.end())
      return into.push_back(found->second);
    for (char c : text)
      if (auto id = byte_token_[static_cast<uint8_t>(c)]; id >= 0)
        into.push_back(id);
  }

  std::unordered_map<std::string, int32_t> by_text_;
  std::unordered_map<int32_t, char> byte_of_;
  std::array<int32_t, 256> byte_token_{};
};

} // namespace

result<tokenizer_ptr> make_spm(tokenizer_data data) {
  return tokenizer_ptr(std::make_shared<spm>(std::move(data)));
}

} // namespace coel::model
