// Splits text into the words inside which BPE merges.
#pragma once

#include "common/result.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace coel::model {

class pretokenizer {
 public:
  /// By GGUF name: "qwen2", "llama-bpe", "gpt-2", "olmo" and their synonyms ("default" is gpt-2).
  /// Errors: unsupported, listing the known names.
  static result<std::shared_ptr<const pretokenizer>> make(const std::string& name);

  /// Name of the pre-tokenizer with exactly this pattern; empty if there is none.
  static std::string_view name_of(std::string_view pattern);
  ~pretokenizer();

  /// Pieces of `text` in order; together they are the text. Bytes that are not UTF-8 are pieces of
  /// their own. Where the pattern needs too many steps, the rest of the text is one piece.
  /// Thread-safe.
  std::vector<std::string_view> split(std::string_view text) const;

  /// Whole words that are tokens are not merged up (llama-bpe and its synonyms).
  static bool whole_words_first(std::string_view name);
  bool whole_words_first() const { return whole_words_; }

 private:
  struct compiled;
  pretokenizer(std::unique_ptr<compiled> pattern, bool whole_words);
  void split_valid(std::string_view text, std::vector<std::string_view>& into) const;
  std::unique_ptr<compiled> pattern_;
  bool whole_words_;
};

} // namespace coel::model
