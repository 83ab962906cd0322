// Finds the texts of special tokens inside a text.
#pragma once

#include "model/tokenizer_data.hpp"

#include <array>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace coel::model {

/// Hashes std::string and std::string_view alike, so that a look-up needs no copy.
struct text_hash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

class special_tokens {
 public:
  /// Longer texts are not looked for: the bound keeps a hostile vocabulary from making split slow.
  static constexpr size_t longest = 256;

  explicit special_tokens(const tokenizer_data& data);

  /// A piece of text, or (id >= 0) one special token.
  struct piece {
    std::string_view text;
    int32_t id = -1;
  };
  /// Longest match first. `control`: control tokens count too, not only user-defined ones.
  std::vector<piece> split(std::string_view text, bool control) const;

 private:
  struct entry {
    int32_t id;
    bool control;
  };
  std::unordered_map<std::string, entry, text_hash, std::equal_to<>> by_text_;
  std::array<std::vector<size_t>, 256> lengths_; // by first byte, falling
};

} // namespace coel::model
