// A GGUF file as a model of one of the families.
#pragma once

#include "model/gguf_config.hpp"
#include "model/source.hpp"

namespace coel::model {

/// Errors: io, bad_file, unsupported.
result<source_ptr> open_gguf(const std::filesystem::path& path);

} // namespace coel::model
