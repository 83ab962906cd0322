// What both tokenizer algorithms share: special tokens, marks, ends.
#pragma once

#include "model/special_tokens.hpp"
#include "model/tokenizer.hpp"

#include <unordered_set>

namespace coel::model {

class tokenizer_base : public tokenizer {
 public:
  explicit tokenizer_base(tokenizer_data data);

  std::vector<int32_t> encode(std::string_view text, bool special, bool add_marks) const override;
  std::vector<int32_t> encode(std::span<const text_part> parts) const override;
  std::string piece(int32_t id, bool show_control) const override;
  bool is_end(int32_t id) const override { return ends_.contains(id); }
  uint32_t size() const override { return static_cast<uint32_t>(data_.tokens.size()); }
  const tokenizer_data& data() const override { return data_; }

 protected:
  /// Appends the tokens of a text without special tokens, which begins the input or follows one.
  virtual void encode_text(std::string_view text, std::vector<int32_t>& into) const = 0;
  /// Bytes of an ordinary token.
  virtual std::string bytes_of(int32_t id) const = 0;

  token_type type_of(int32_t id) const;
  tokenizer_data data_;

 private:
  special_tokens special_;
  std::unordered_set<int32_t> ends_;
};

result<tokenizer_ptr> make_bpe(tokenizer_data data);
result<tokenizer_ptr> make_spm(tokenizer_data data);

} // namespace coel::model
