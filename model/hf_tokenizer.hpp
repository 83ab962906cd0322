// The vocabulary of a Hugging Face directory.
#pragma once

#include "common/result.hpp"
#include "model/tokenizer_data.hpp"

#include <filesystem>

namespace coel::model {

/// tokenizer.json, tokenizer_config.json, generation_config.json. Errors: io, bad_file,
/// unsupported.
result<tokenizer_data> read_hf_tokenizer(const std::filesystem::path& directory);

} // namespace coel::model
