// Reader of safetensors files: an 8-byte header length, a JSON header, then the data.
// Format: github.com/huggingface/safetensors.
#pragma once

#include "compute/matrix.hpp"
#include "model/mapped_file.hpp"

#include <map>
#include <string>

namespace coel::model {

/// The tensors of one or more files by name.
struct tensor_map {
  /// Vectors are [1, n], higher dimensions are folded into rows.
  std::map<std::string, compute::matrix_view, std::less<>> tensors;
  /// Those of types other than F32, F16 and BF16: name and type. An error only if a model needs
  /// them.
  std::map<std::string, std::string, std::less<>> of_other_types;
};

/// Adds the file's tensors. Every shape and extent is checked against the file's size; data of two
/// tensors never overlap. Errors: bad_file.
result<void> read_safetensors(const mapped_file_ptr& file, tensor_map& into);

} // namespace coel::model
