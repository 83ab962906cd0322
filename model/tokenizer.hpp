// Text to token ids and back. Immutable and thread-safe once made.
#pragma once

#include "common/result.hpp"
#include "model/tokenizer_data.hpp"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace coel::model {

/// A piece of a prompt. Special tokens are recognised in what a template says, not in what people
/// wrote.
struct text_part {
  std::string text;
  bool special = false;
};

class tokenizer {
 public:
  virtual ~tokenizer() = default;

  /// Never fails: bytes that are not UTF-8 become byte tokens (or the unknown token).
  /// `special`: texts of control tokens inside `text` become those tokens.
  /// Adds BOS and EOS as the vocabulary says when `add_marks`.
  virtual std::vector<int32_t> encode(std::string_view text, bool special,
                                      bool add_marks) const = 0;

  /// Parts as one text, without marks: what stands at a seam is cut and merged as if it had been
  /// written in one piece, but no special token lies across a seam.
  virtual std::vector<int32_t> encode(std::span<const text_part> parts) const = 0;

  /// The bytes of one token; may be a part of a UTF-8 character. Empty for control tokens unless
  /// `show_control`, and for ids out of range.
  virtual std::string piece(int32_t id, bool show_control = false) const = 0;

  std::string decode(std::span<const int32_t> ids, bool show_control = false) const;

  virtual bool is_end(int32_t id) const = 0; ///< an answer ends here (eos, eot, <|im_end|>, ...)
  virtual uint32_t size() const = 0;
  virtual const tokenizer_data& data() const = 0;
};
using tokenizer_ptr = std::shared_ptr<const tokenizer>;

/// Errors: bad_file (inconsistent vocabulary), unsupported (unknown pre-tokenizer: the message
/// lists the known ones).
result<tokenizer_ptr> make_tokenizer(tokenizer_data data);

} // namespace coel::model
