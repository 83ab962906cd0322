// A GGUF file as a model of one of the families.
#pragma once

#include "model/gguf.hpp"
#include "model/source.hpp"

namespace coel::model {

/// Errors: io, bad_file, unsupported.
result<source_ptr> open_gguf(const std::filesystem::path& path);

/// tokenizer.ggml.* of a file, which need not hold a model. Errors: bad_file, unsupported.
result<tokenizer_data> gguf_vocabulary(const gguf_file& file);

} // namespace coel::model
