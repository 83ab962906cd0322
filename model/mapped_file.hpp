// A file mapped read-only; the mapping lives as long as anything points into it.
#pragma once

#include "common/result.hpp"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace coel::model {

class mapped_file {
 public:
  /// Errors: io (with the system's reason), bad_file (empty or not a regular file).
  static result<std::shared_ptr<const mapped_file>> open(const std::filesystem::path& path);
  ~mapped_file();
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  /// Gives back the memory of the whole pages inside this range; a later read faults them in again.
  void release(const std::byte* from, uint64_t count) const;

 private:
  mapped_file(std::filesystem::path path, const std::byte* data, size_t size);
  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
};
using mapped_file_ptr = std::shared_ptr<const mapped_file>;

} // namespace coel::model
