// Finds the texts of special tokens inside a text.
#pragma once

#include "model/tokenizer_data.hpp"

#include <array>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace coel::model {

class special_tokens {
 public:
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
  std::unordered_map<std::string, entry> by_text_;
  std::array<std::vector<size_t>, 256> lengths_;   // by first byte, falling
};

} // namespace coel::model
