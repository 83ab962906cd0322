// Files read and written at offsets, for what is kept on disk chunk by chunk.
#pragma once

#include "common/result.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <sys/stat.h>
#include <vector>

namespace coel::model {

/// "PATH: cannot WHAT: the system's reason", of the last failed call.
error system_error(const std::filesystem::path& path, const char* what);

/// One descriptor. Reads and writes at offsets are thread-safe.
class file_handle {
 public:
  /// Errors: io, bad_file (not a regular file).
  static result<file_handle> open_to_read(const std::filesystem::path& path);
  /// Made if it is not there; a symbolic link is refused.
  static result<file_handle> open_to_write(const std::filesystem::path& path);

  file_handle(file_handle&& other) noexcept;
  file_handle& operator=(file_handle&& other) noexcept;
  ~file_handle();

  int descriptor() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }
  result<struct stat> about() const;

  /// All of `to`; a file that ends before is an error.
  result<void> read_at(uint64_t offset, std::span<std::byte> to) const;
  result<void> write_at(uint64_t offset, std::span<const std::byte> from) const;
  result<void> resize(uint64_t bytes) const;
  /// Returns once the bytes would survive a loss of power.
  result<void> sync() const;

 private:
  static result<file_handle> open(const std::filesystem::path& path, int flags);
  file_handle(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::filesystem::path path_;
  int fd_ = -1;
};

result<std::vector<std::byte>> read_whole(const std::filesystem::path& path, uint64_t most_bytes);
/// The old content or the new, never a part: also after a loss of power.
result<void> replace_whole(const std::filesystem::path& path, std::span<const std::byte> bytes);
result<void> make_folder(const std::filesystem::path& path);

} // namespace coel::model
