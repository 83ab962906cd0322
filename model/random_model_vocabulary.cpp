#include "model/random_model.hpp"

namespace coel::model {

namespace {

std::string utf8(uint32_t code) { // below U+0800 suffices here
  if (code < 0x80)
    return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

/// Byte-level BPE writes every byte as a printable character: itself if it is one in Latin-1, else
/// the next free one from U+0100 on.
std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b != 0xad);
    tokens.push_back(utf8(printable ? b : next++));
  }
  return tokens;
}

/// A word of its own for every number: consonant and vowel in turn, after a space (U+0120).
std::string made_up_word(uint32_t number) {
  constexpr std::string_view consonants = "bdfgklmnprstvz", vowels = "aeiou";
  std::string word = utf8(0x120);
  for (number += 70; number > 0; number /= 70) {
    word += consonants[number % 70 / 5];
    word += vowels[number % 5];
  }
  return word;
}

} // namespace

tokenizer_data synthetic_vocabulary(uint32_t size) {
  tokenizer_data d;
  d.kind = tokenizer_data::algorithm::bpe;
  d.pre = "qwen2";
  d.tokens = byte_tokens();
  constexpr const char* specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  while (d.tokens.size() + std::size(specials) < size)
    d.tokens.push_back(made_up_word(static_cast<uint32_t>(d.tokens.size() - 256)));
  d.types.assign(d.tokens.size(), token_type::normal);
  auto first = static_cast<int32_t>(d.tokens.size());
  for (const char* s : specials) {
    d.tokens.push_back(s);
    d.types.push_back(token_type::control);
  }
  d.bos = d.pad = first;
  d.eos = first + 2;
  return d;
}

} // namespace coel::model
