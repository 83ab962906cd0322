// Reader of safetensors files: an 8-byte header length, a JSON header, then the data.
// Format: github.com/huggingface/safetensors.
#pragma once

#include "compute/matrix.hpp"
#include "model/mapped_file.hpp"

#include <map>
#include <string>

namespace coel::model {

/// Tensors by name; vectors are [1, n], higher dimensions are folded into rows.
using tensor_map = std::map<std::string, compute::matrix_view, std::less<>>;

/// Adds the file's tensors. Types other than F32, F16 and BF16 are left out (they are an error only
/// if a model needs them). Errors: bad_file.
result<void> read_safetensors(const mapped_file_ptr& file, tensor_map& into);

} // namespace coel::model
