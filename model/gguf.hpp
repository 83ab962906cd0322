// Reader of GGUF files, version 2 and 3, single or split. Knows the container, not the models in
// it. Format: github.com/ggml-org/ggml, docs/gguf.md.
#pragma once

#include "compute/matrix.hpp"
#include "model/mapped_file.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace coel::model {

/// A metadata value. All integers are widened, all floats are double; arrays of numbers likewise.
using gguf_value = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<int64_t>,
                                std::vector<double>, std::vector<std::string>>;

struct gguf_tensor {
  dtype type{};
  std::vector<uint64_t> shape; ///< ggml order: the first is the row length
  compute::matrix_view data;   ///< all dimensions but the first folded into rows
  mapped_file_ptr file;
};

class gguf_file {
 public:
  /// Opens a file, or a whole split set given any of its parts. Every count, string, shape and
  /// extent is checked against the file's size; data of two tensors never overlap.
  /// Errors: io, bad_file, unsupported (version, tensor type).
  static result<gguf_file> open(const std::filesystem::path& path);

  const gguf_value* find(std::string_view key) const;
  /// Typed access; nullptr or nullopt if absent or of another kind.
  const std::string* text(std::string_view key) const;
  std::optional<uint64_t> number(std::string_view key) const; ///< non-negative integers only
  std::optional<double> real(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  const gguf_tensor* tensor(std::string_view name) const;

  const std::map<std::string, gguf_tensor, std::less<>>& tensors() const { return tensors_; }
  const std::vector<mapped_file_ptr>& files() const { return files_; }
  uint32_t version() const { return version_; }

 private:
  friend class gguf_parser;
  static result<gguf_file> open_part(const std::filesystem::path& path);
  static result<gguf_file> open_split(const std::filesystem::path& folder, const std::string& stem,
                                      uint64_t parts);

  std::map<std::string, gguf_value, std::less<>> metadata_;
  std::map<std::string, gguf_tensor, std::less<>> tensors_;
  std::vector<mapped_file_ptr> files_;
  uint32_t version_ = 0;
};

} // namespace coel::model
