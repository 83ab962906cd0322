// A Hugging Face directory (config.json, safetensors, tokenizer.json) as a model of a family.
#pragma once

#include "model/source.hpp"

namespace coel::model {

/// Errors: io, bad_file, unsupported.
result<source_ptr> open_hf(const std::filesystem::path& directory);

} // namespace coel::model
