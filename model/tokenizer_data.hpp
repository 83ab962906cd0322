// A vocabulary as files carry it, whatever the file format; model/tokenizer.hpp runs it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace coel::model {

enum class token_type : uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

struct tokenizer_data {
  enum class algorithm : uint8_t {
    bpe, ///< byte-level BPE with merges (GGUF "gpt2")
    spm, ///< SentencePiece BPE with scores (GGUF "llama")
  };
  algorithm kind = algorithm::bpe;
  std::string pre;                 ///< pre-tokenizer: "qwen2", "llama-bpe", "gpt-2", "olmo"
  std::vector<std::string> tokens; ///< by id; byte-level text for bpe, with U+2581 for spm
  std::vector<float> scores;       ///< by id (spm), else empty
  std::vector<token_type> types;   ///< by id; empty means all normal
  std::vector<std::string> merges; ///< "left right" by falling rank (bpe)
  std::optional<int32_t> bos, eos, eot, unk, pad;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = true; ///< spm only
  std::string chat_template;    ///< Jinja source; empty if the file has none
};

} // namespace coel::model
