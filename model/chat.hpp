// Chat templates of the supported families, recognised from the model's own template text.
#pragma once

#include "common/result.hpp"
#include "common/sampling.hpp"
#include "model/tokenizer_data.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace coel::model {

enum class chat_style : uint8_t {
  chatml,     ///< <|im_start|>role\n...<|im_end|>\n : Qwen
  mistral,    ///< [INST] ... [/INST] : Mixtral
  olmoe,      ///< <|user|>\n...\n<|assistant|>\n
  llama3,     ///< <|start_header_id|>role<|end_header_id|>\n\n...<|eot_id|>
  plain,      ///< the model has no template (base models): contents one after another
};

std::string_view to_string(chat_style style);

/// From the template's markers, else from the vocabulary, else plain.
chat_style detect_chat_style(const tokenizer_data& vocabulary);

/// The prompt text that makes the model answer as the assistant; special tokens as text, to be
/// encoded with special = true. User content never becomes a special token: see `chat_prompt`.
/// Errors: bad_argument (unknown role, no message).
struct chat_part {
  std::string text;
  bool special = false;      ///< template text, in which special tokens are recognised
};
result<std::vector<chat_part>> chat_prompt(chat_style style, const tokenizer_data& vocabulary,
                                           const std::vector<chat_message>& messages);

} // namespace coel::model
