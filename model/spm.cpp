// SentencePiece BPE (Kudo and Richardson, 2018): characters merge by the score of the token that
// they form; what no token covers becomes byte tokens.
#include "model/merge_queue.hpp"
#include "model/tokenizer_base.hpp"
#include "model/utf8.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <unordered_map>

namespace coel::model {

namespace {

constexpr std::string_view space_mark = "\xe2\x96\x81"; // U+2581

// Pieces are a few characters long; the bound keeps a hostile vocabulary from making merges slow.
constexpr size_t longest_merge = 512;

std::string byte_text(uint32_t b) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", b);
  return text;
}

class spm : public tokenizer_base {
 public:
  explicit spm(tokenizer_data data) : tokenizer_base(std::move(data)) {
    find_byte_tokens();
    // Only ordinary pieces are looked up: "</s>" or "<0x0A>" as people type them are plain text.
    for (size_t id = 0; id < data_.tokens.size(); ++id)
      if (const auto i = static_cast<int32_t>(id);
          type_of(i) == token_type::normal && !byte_of_.contains(i))
        by_text_.emplace(data_.tokens[id], i);
  }

  /// Every byte becomes a token: its own or the unknown one.
  bool complete() const {
    return std::all_of(byte_token_.begin(), byte_token_.end(), [](auto id) { return id >= 0; });
  }

 protected:
  struct span {
    uint32_t begin, end;
  };

  void encode_text(std::string_view text, std::vector<int32_t>& into) const override {
    const auto marked = with_marks(text, data_.add_space_prefix);
    const std::string_view all = marked;
    auto best = [&](span left, span right) -> std::optional<std::pair<double, span>> {
      if (right.end - left.begin > longest_merge)
        return std::nullopt;
      auto found = by_text_.find(all.substr(left.begin, right.end - left.begin));
      if (found == by_text_.end())
        return std::nullopt;
      return std::pair{-score(found->second), span{left.begin, right.end}};
    };
    for (auto s : merge_all(characters(marked), best))
      put(all.substr(s.begin, s.end - s.begin), into);
  }

  std::string bytes_of(int32_t id) const override {
    if (auto found = byte_of_.find(id); found != byte_of_.end())
      return {found->second};
    const std::string_view text = data_.tokens[static_cast<size_t>(id)];
    std::string bytes;
    for (size_t at = 0; at < text.size();) {
      const bool space = text.substr(at).starts_with(space_mark);
      bytes.push_back(space ? ' ' : text[at]);
      at += space ? space_mark.size() : 1;
    }
    return bytes;
  }

 private:
  /// Vocabularies without types name their byte tokens by text alone.
  void find_byte_tokens() {
    std::unordered_map<std::string_view, int32_t> named;
    for (size_t id = 0; id < data_.tokens.size(); ++id)
      if (data_.types.empty() || data_.types[id] == token_type::byte)
        named.emplace(data_.tokens[id], static_cast<int32_t>(id));
    for (uint32_t b = 0; b < 256; ++b) {
      auto found = named.find(byte_text(b));
      byte_token_[b] = found != named.end() ? found->second : data_.unk.value_or(-1);
      if (found != named.end())
        byte_of_[found->second] = static_cast<char>(b);
    }
  }

  static std::string with_marks(std::string_view text, bool prefix) {
    std::string marked(prefix ? space_mark : "");
    for (char c : text)
      if (c == ' ')
        marked += space_mark;
      else
        marked.push_back(c);
    return marked;
  }

  static std::vector<span> characters(std::string_view text) {
    std::vector<span> symbols;
    for (size_t i = 0; i < text.size();) {
      const auto end = i + std::max<size_t>(1, utf8_length(text, i));
      symbols.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(end)});
      i = end;
    }
    return symbols;
  }

  /// NaN, which has no order, counts as the lowest.
  double score(int32_t id) const {
    const auto i = static_cast<size_t>(id);
    const auto s = i < data_.scores.size() ? data_.scores[i] : 0.f;
    return std::isnan(s) ? -std::numeric_limits<double>::infinity() : double{s};
  }

  void put(std::string_view text, std::vector<int32_t>& into) const {
    if (auto found = by_text_.find(text); found != by_text_.end())
      return into.push_back(found->second);
    for (char c : text)
      into.push_back(byte_token_[static_cast<uint8_t>(c)]);
  }

  std::unordered_map<std::string, int32_t, text_hash, std::equal_to<>> by_text_;
  std::unordered_map<int32_t, char> byte_of_;
  std::array<int32_t, 256> byte_token_{};
};

} // namespace

result<tokenizer_ptr> make_spm(tokenizer_data data) {
  auto made = std::make_shared<spm>(std::move(data));
  if (!made->complete())
    return {ec::bad_file, "the vocabulary lacks a byte token <0xNN> and has no unknown token"};
  return tokenizer_ptr(std::move(made));
}

} // namespace coel::model
