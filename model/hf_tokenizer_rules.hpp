// What tokenizer.json says besides the vocabulary: how text is cut and marked. Only what the two
// algorithms of model/tokenizer.hpp do is accepted, with one exception: text is not brought to the
// composed form that NFC asks for, as nearly all text has it already.
#pragma once

#include "common/result.hpp"
#include "model/tokenizer_data.hpp"

#include <nlohmann/json.hpp>

namespace coel::model {

/// Sets `pre` of a byte-level BPE tokenizer. Errors: unsupported, naming what is not known.
result<void> read_byte_level_rules(const nlohmann::json& tokenizer, tokenizer_data& data);

/// Sets `add_space_prefix` of a SentencePiece tokenizer stored as BPE with byte fallback (Mixtral).
/// Errors: unsupported.
result<void> read_sentencepiece_rules(const nlohmann::json& tokenizer, tokenizer_data& data);

/// Sets add_bos and add_eos, and which tokens these are, where a TemplateProcessing post-processor
/// decides them.
void read_marks(const nlohmann::json& tokenizer, tokenizer_data& data);

/// A member of `object` if it is there and not null.
const nlohmann::json* member(const nlohmann::json& object, const char* key);
bool flag(const nlohmann::json& object, const char* key, bool otherwise);
std::string text(const nlohmann::json& object, const char* key, const std::string& otherwise = {});

} // namespace coel::model
