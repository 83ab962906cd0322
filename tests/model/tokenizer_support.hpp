// Small vocabularies made for tests.
#pragma once

#include "model/tokenizer.hpp"
#include "model/utf8.hpp"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace coel::test {

/// A byte as byte-level BPE writes it: itself if printable, else from U+0100 on.
inline std::string byte_level(uint8_t b) {
  uint32_t code = b, next = 256;
  for (uint32_t i = 0; i <= b; ++i) {
    const bool itself = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
    code = itself ? i : next++;
  }
  std::string text;
  model::append_utf8(text, code);
  return text;
}

inline std::string byte_level(std::string_view bytes) {
  std::string text;
  for (char c : bytes)
    text += byte_level(static_cast<uint8_t>(c));
  return text;
}

inline int32_t add_token(model::tokenizer_data& d, const std::string& text,
                         model::token_type type = model::token_type::normal) {
  d.tokens.push_back(text);
  d.types.push_back(type);
  return static_cast<int32_t>(d.tokens.size()) - 1;
}

/// Adds the token and the merge that makes it, both given as bytes.
inline int32_t add_merge(model::tokenizer_data& d, std::string_view left, std::string_view right) {
  d.merges.push_back(byte_level(left) + " " + byte_level(right));
  return add_token(d, byte_level(left) + byte_level(right));
}

/// Token b is byte b; 256 <|endoftext|>, 257 <|im_start|>, 258 <|im_end|>, all control tokens.
inline model::tokenizer_data byte_vocabulary(const std::string& pre = "qwen2") {
  model::tokenizer_data d;
  d.pre = pre;
  for (int b = 0; b < 256; ++b)
    add_token(d, byte_level(static_cast<uint8_t>(b)));
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
    add_token(d, control, model::token_type::control);
  d.eos = 256;
  return d;
}

/// 0 <unk>, 1 <s>, 2 </s>, then byte b as token 3 + b.
inline model::tokenizer_data sentencepiece_vocabulary() {
  model::tokenizer_data d;
  d.kind = model::tokenizer_data::algorithm::spm;
  add_token(d, "<unk>", model::token_type::unknown);
  add_token(d, "<s>", model::token_type::control);
  add_token(d, "</s>", model::token_type::control);
  for (int b = 0; b < 256; ++b) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", b);
    add_token(d, text, model::token_type::byte);
  }
  d.scores.assign(d.tokens.size(), 0.f);
  d.unk = 0, d.bos = 1, d.eos = 2;
  d.add_bos = true;
  return d;
}

inline int32_t add_piece(model::tokenizer_data& d, const std::string& text, float score) {
  d.scores.push_back(score);
  return add_token(d, text);
}

inline model::tokenizer_ptr make(result<model::tokenizer_data> data) {
  BOOST_REQUIRE_MESSAGE(data.ok(), (data.ok() ? "" : data.err().message));
  auto made = model::make_tokenizer(std::move(*data));
  BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.err().message));
  return *made;
}

/// Mostly ASCII with spaces and line ends, some UTF-8, some bytes that are no UTF-8.
inline std::string random_text(std::mt19937& random, size_t most) {
  constexpr const char* parts[] = {
      " ",    "  ",   "\n",           "\r\n",       "'s",   "don't",  "abc", "A",  "12345",   "é",
      "中文", "🙂", "\xe2\x96\x81", "<|im_end|>", "</s>", "<0x41>", "...", "\t", "\xc2\xa0"};
  std::string text;
  for (auto n = random() % (most + 1); n > 0; --n)
    if (random() % 3)
      text += parts[random() % std::size(parts)];
    else
      text.push_back(static_cast<char>(random()));
  return text;
}

/// Says on the terminal that a test did not run, for files that are not in every checkout.
inline bool missing(const std::filesystem::path& path) {
  if (std::filesystem::exists(path))
    return false;
  std::cerr << "skipped: " << boost::unit_test::framework::current_test_case().p_name << ": "
            << path << " is not here\n";
  return true;
}

} // namespace coel::test
