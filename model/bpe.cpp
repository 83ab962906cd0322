// Byte-level BPE (Radford et al., 2019): bytes are written as printable characters, words are cut
// by a pattern, and pairs merge by rank.
#include "model/merge_queue.hpp"
#include "model/pretokenizer.hpp"
#include "model/tokenizer_base.hpp"
#include "model/utf8.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace coel::model {

namespace {

/// The printable character that stands for each byte: itself where it is printable and no space,
/// else the next from U+0100 on.
std::array<uint32_t, 256> byte_characters() {
  std::array<uint32_t, 256> table{};
  uint32_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) {
    bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    table[b] = itself ? b : next++;
  }
  return table;
}

/// Takes part in merges: anything but special tokens and holes.
bool ordinary(const tokenizer_data& data, size_t id) {
  return data.types.empty() || data.types[id] == token_type::normal ||
         data.types[id] == token_type::byte;
}

class bpe : public tokenizer_base {
 public:
  bpe(tokenizer_data data, std::shared_ptr<const pretokenizer> words)
      : tokenizer_base(std::move(data)), words_(std::move(words)) {
    auto characters = byte_characters();
    for (uint32_t b = 0; b < 256; ++b)
      byte_of_[characters[b]] = static_cast<char>(b);
    for (size_t id = 0; id < data_.tokens.size(); ++id)
      if (ordinary(data_, id))
        by_text_.emplace(data_.tokens[id], static_cast<int32_t>(id));
    for (uint32_t b = 0; b < 256; ++b) {
      append_utf8(character_[b], characters[b]);
      auto found = by_text_.find(character_[b]);
      byte_token_[b] = found != by_text_.end() ? found->second : data_.unk.value_or(-1);
    }
    read_merges();
  }

  /// Every byte becomes a token: its own or the unknown one.
  bool complete() const {
    return std::all_of(byte_token_.begin(), byte_token_.end(), [](auto id) { return id >= 0; });
  }

 protected:
  void encode_text(std::string_view text, std::vector<int32_t>& into) const override {
    for (auto word : words_->split(text))
      encode_word(word, into);
  }

  std::string bytes_of(int32_t id) const override {
    const auto& text = data_.tokens[static_cast<size_t>(id)];
    std::string bytes;
    for (size_t i = 0; i < text.size();) {
      size_t n = utf8_length(text, i);
      auto found = n ? byte_of_.find(utf8_code_point(text, i)) : byte_of_.end();
      if (found != byte_of_.end())
        bytes.push_back(found->second);
      else
        bytes.append(text, i, n ? n : 1); // a token that is not byte-level text stands for itself
      i += n ? n : 1;
    }
    return bytes;
  }

 private:
  struct merge {
    double rank;
    int32_t merged;
  };

  static uint64_t pair_key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }

  /// Merges whose parts or result are no tokens can never apply and are left out.
  void read_merges() {
    for (size_t rank = 0; rank < data_.merges.size(); ++rank) {
      const auto& line = data_.merges[rank];
      auto space = line.find(' ', 1);
      if (space == std::string::npos)
        continue;
      auto left = by_text_.find(line.substr(0, space)),
           right = by_text_.find(line.substr(space + 1));
      if (left == by_text_.end() || right == by_text_.end())
        continue;
      auto merged = by_text_.find(left->first + right->first);
      if (merged != by_text_.end())
        merges_.try_emplace(pair_key(left->second, right->second),
                            merge{double(rank), merged->second});
    }
  }

  void encode_word(std::string_view word, std::vector<int32_t>& into) const {
    if (words_->whole_words_first()) {
      std::string written;
      for (char c : word)
        written += character_[static_cast<uint8_t>(c)];
      if (auto found = by_text_.find(written); found != by_text_.end())
        return into.push_back(found->second);
    }
    std::vector<int32_t> symbols;
    for (char c : word)
      symbols.push_back(byte_token_[static_cast<uint8_t>(c)]);
    auto best = [&](int32_t left, int32_t right) -> std::optional<std::pair<double, int32_t>> {
      auto found = merges_.find(pair_key(left, right));
      if (found == merges_.end())
        return std::nullopt;
      return std::pair{found->second.rank, found->second.merged};
    };
    auto merged = merge_all(std::move(symbols), best);
    into.insert(into.end(), merged.begin(), merged.end());
  }

  std::shared_ptr<const pretokenizer> words_;
  std::unordered_map<std::string, int32_t> by_text_;
  std::unordered_map<uint64_t, merge> merges_;
  std::unordered_map<uint32_t, char> byte_of_;
  std::array<std::string, 256> character_;
  std::array<int32_t, 256> byte_token_{};
};

} // namespace

result<tokenizer_ptr> make_bpe(tokenizer_data data) {
  auto words = pretokenizer::make(data.pre);
  if (!words)
    return words.err();
  auto made = std::make_shared<bpe>(std::move(data), std::move(*words));
  if (!made->complete())
    return {ec::bad_file, "the vocabulary lacks a token for some byte and has no unknown token"};
  return tokenizer_ptr(std::move(made));
}

} // namespace coel::model
