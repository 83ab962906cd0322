// What a GGUF file's metadata says: the model's configuration and its vocabulary.
#pragma once

#include "model/config.hpp"
#include "model/gguf.hpp"
#include "model/tokenizer_data.hpp"

namespace coel::model {

/// Everything but the name. Errors: bad_file (the message names the key), unsupported (what the
/// layer graph would compute wrongly).
result<model_config> gguf_config(const gguf_file& file);

/// tokenizer.ggml.* of a file, which need not hold a model. Errors: bad_file, unsupported.
result<tokenizer_data> gguf_vocabulary(const gguf_file& file);

} // namespace coel::model
