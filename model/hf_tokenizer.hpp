// The vocabulary of a Hugging Face directory.
#pragma once

#include "common/result.hpp"
#include "model/tokenizer_data.hpp"

#include <filesystem>

namespace coel::model {

/// tokenizer.json; if they are there tokenizer_config.json, generation_config.json and
/// chat_template.jinja. Errors: io, bad_file, unsupported; the message names the file.
result<tokenizer_data> read_hf_tokenizer(const std::filesystem::path& directory);

} // namespace coel::model
