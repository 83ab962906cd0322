// Writer of GGUF v3 files of any size: the header first, then tensor bytes in any order, from any
// thread. The file takes its name only when it is whole; until then it is NAME.part.
// Format: github.com/ggml-org/ggml, docs/gguf.md.
#pragma once

#include "common/dtype.hpp"
#include "common/result.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace coel::model {

/// A metadata value; the alternative chosen is the kind that the file states.
using gguf_scalar =
    std::variant<bool, uint32_t, uint64_t, int32_t, float, std::string, std::vector<int32_t>,
                 std::vector<float>, std::vector<std::string>>;

struct gguf_pair {
  std::string key;
  gguf_scalar value;
};

struct gguf_tensor_info {
  std::string name;
  dtype type{};
  std::vector<uint64_t> shape; ///< ggml order: the first is the row length
  uint64_t bytes() const;
};

class gguf_writer {
 public:
  /// Reserves the whole file on disk, so that a full disk is noticed here, and writes the header.
  /// Errors: bad_argument (empty shape, row not of whole blocks, name used twice), busy (another
  /// process writes this file), io (the message says what was needed and what there is).
  static result<std::unique_ptr<gguf_writer>> create(const std::filesystem::path& path,
                                                     const std::vector<gguf_pair>& metadata,
                                                     std::vector<gguf_tensor_info> tensors);
  /// Removes what was written if finish() has not succeeded.
  ~gguf_writer();
  gguf_writer(const gguf_writer&) = delete;
  gguf_writer& operator=(const gguf_writer&) = delete;

  /// Bytes [offset, offset + data.size()) of a tensor. Each byte must be written once. Thread-safe.
  /// Errors: bad_argument (outside the tensor), io.
  result<void> write(size_t tensor, uint64_t offset, std::span<const std::byte> data);

  /// Makes the file durable and gives it its name. Errors: internal (bytes are missing), io.
  result<void> finish();

  uint64_t file_bytes() const { return file_bytes_; }

 private:
  gguf_writer(std::filesystem::path path, std::vector<gguf_tensor_info> tensors);
  result<void> open();
  result<void> reserve();
  result<void> put(uint64_t at, std::span<const std::byte> data);
  error failure(const std::string& what) const;

  std::filesystem::path path_, part_;
  std::vector<gguf_tensor_info> tensors_;
  std::vector<uint64_t> starts_; // of each tensor, from the beginning of the file
  uint64_t file_bytes_ = 0;
  uint64_t data_bytes_ = 0; // of all tensors, without padding
  std::atomic<uint64_t> written_{0};
  int fd_ = -1;
  bool finished_ = false;
};

} // namespace coel::model
