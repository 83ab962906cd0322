// Builds a vocabulary from the bytes and runs a text from the bytes through it and back.
// Layout: make_seeds.py, tokenizer_seed.
#include "tests/fuzz/byte_reader.hpp"
#include "tests/fuzz/text_checks.hpp"

#include <cstdio>

using namespace coel;
using model::token_type;
using model::tokenizer_data;

namespace {

constexpr const char* space_mark = "\xe2\x96\x81";

void add(tokenizer_data& d, std::string text, token_type type, float score = 0) {
  d.tokens.push_back(std::move(text));
  d.types.push_back(type);
  if (d.kind == tokenizer_data::algorithm::spm)
    d.scores.push_back(score);
}

/// A byte as byte-level BPE writes it.
std::string byte_level(uint32_t b) {
  uint32_t code = b, next = 256;
  for (uint32_t i = 0; i <= b; ++i)
    code = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174 ? i : next++;
  std::string text;
  model::append_utf8(text, code);
  return text;
}

void add_bytes(tokenizer_data& d) {
  for (uint32_t b = 0; b < 256; ++b)
    if (d.kind == tokenizer_data::algorithm::bpe) {
      add(d, byte_level(b), token_type::normal);
    } else {
      char text[8];
      std::snprintf(text, sizeof text, "<0x%02X>", b);
      add(d, text, token_type::byte);
    }
  if (d.kind == tokenizer_data::algorithm::spm)
    add(d, space_mark, token_type::normal, -100);
}

std::optional<int32_t> id_of(uint8_t byte) {
  return byte == 255 ? std::nullopt : std::optional<int32_t>(byte);
}

tokenizer_data vocabulary(fuzz::byte_reader& in, bool& complete) {
  constexpr const char* cuts[] = {"qwen2", "llama-bpe", "gpt-2", "olmo"};
  tokenizer_data d;
  const auto flags = in.byte();
  d.kind = flags & 1 ? tokenizer_data::algorithm::spm : tokenizer_data::algorithm::bpe;
  complete = flags & 2;
  d.add_space_prefix = flags & 4;
  d.add_bos = flags & 8;
  d.pre = cuts[flags >> 4 & 3];
  d.bos = id_of(in.byte());
  d.eos = id_of(in.byte());
  d.unk = id_of(in.byte());
  if (complete)
    add_bytes(d);
  for (auto count = in.byte(); count > 0; --count) {
    const auto type = static_cast<token_type>(1 + in.byte() % 6);
    const auto score = in.real();
    add(d, std::string(in.text()), type, score);
  }
  for (auto count = in.byte(); count > 0; --count)
    d.merges.emplace_back(in.text());
  if (flags & 64)
    d.types.clear();
  return d;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::byte_reader in(data, size);
  bool complete = false;
  auto made = model::make_tokenizer(vocabulary(in, complete));
  if (!made) {
    fuzz::require(!made.err().message.empty());
    return 0;
  }
  const auto text = in.rest();
  // U+2581 is how SentencePiece writes a space.
  const bool spm = (*made)->data().kind == tokenizer_data::algorithm::spm;
  fuzz::require_round_trip(*made, text, complete && !(spm && text.find(space_mark) != text.npos));
  return 0;
}
