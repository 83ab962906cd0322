// Chat templates of the supported families, recognised from the model's own template text.
#pragma once

#include "common/result.hpp"
#include "common/sampling.hpp"
#include "model/tokenizer.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace coel::model {

enum class chat_style : uint8_t {
  chatml,  ///< <|im_start|>role\n...<|im_end|>\n : Qwen
  mistral, ///< [INST] ... [/INST] : Mixtral
  olmoe,   ///< <|user|>\n...\n<|assistant|>\n
  llama3,  ///< <|start_header_id|>role<|end_header_id|>\n\n...<|eot_id|>
  plain,   ///< the model has no template (base models): contents one after another
  unknown, ///< it has one that is none of these
};

std::string_view to_string(chat_style style);

/// From the template's markers; without a template from the vocabulary, else plain.
chat_style detect_chat_style(const tokenizer_data& vocabulary);

/// The prompt that makes the model answer as the assistant, for tokenizer::encode of parts: text of
/// the template is special, what people wrote is not and never becomes a special token.
/// Errors: bad_argument (unknown role, no message), unsupported (unknown style).
result<std::vector<text_part>> chat_prompt(chat_style style, const tokenizer_data& vocabulary,
                                           const std::vector<chat_message>& messages);

} // namespace coel::model
