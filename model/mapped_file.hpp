// A file mapped read-only; the mapping lives as long as anything points into it.
#pragma once

#include "common/result.hpp"
#include "model/file_identity.hpp"

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
  const file_identity& identity() const { return identity_; } ///< when it was opened

  /// Gives back the memory of the whole pages inside this range; a later read faults them in again.
  void release(const std::byte* from, uint64_t count) const;
  /// Drops what the page cache has of the file, and from now on a fault reads its own page only.
  void expect_single_rows() const;

 private:
  mapped_file(std::filesystem::path path, const file_identity& identity, const std::byte* data);
  std::filesystem::path path_;
  file_identity identity_;
  const std::byte* data_;
  size_t size_;
};
using mapped_file_ptr = std::shared_ptr<const mapped_file>;

} // namespace coel::model
