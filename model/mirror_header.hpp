// How far into a file its header reaches, read from a mirror that may have only a part of it.
#pragma once

#include "model/mirror.hpp"

namespace coel::model {

/// Bytes from the file's beginning that a reader of the header needs. If the part that is here does
/// not tell, as much as is known to be needed, which is more than is here. A header that is wrong
/// counts as ending where it is: the opener then says what is wrong. Errors: io.
result<uint64_t> gguf_header_bytes(const mirror& from, uint32_t file);
result<uint64_t> safetensors_header_bytes(const mirror& from, uint32_t file);

} // namespace coel::model
