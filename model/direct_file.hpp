// A file that is read past the page cache, so that what is read costs no memory but the reader's.
#pragma once

#include "common/result.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>

struct stat;

namespace coel::model {

/// What tells one file from another that has taken its name, or from itself after a write.
struct file_identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  bool operator==(const file_identity&) const = default;
};
file_identity identity_of(const struct ::stat& about);

class direct_file {
 public:
  enum class writes : uint8_t {
    refused,  ///< a change since opening is an error
    expected, ///< somebody fills the file in; only its size must stay
  };

  /// Errors: io (with the system's reason), bad_file (not a regular file, empty).
  static result<std::shared_ptr<const direct_file>> open(const std::filesystem::path& path,
                                                         writes allowed = writes::refused);
  ~direct_file();
  direct_file(const direct_file&) = delete;
  direct_file& operator=(const direct_file&) = delete;

  /// Offsets, lengths and memory of a read are multiples of this.
  static constexpr uint64_t alignment = 4096;

  int descriptor() const { return fd_; }
  uint64_t size() const { return identity_.size; }
  const std::filesystem::path& path() const { return path_; }
  const file_identity& identity() const { return identity_; }
  /// False where the file system has no direct reads: then the pages that a read leaves behind
  /// must be dropped.
  bool is_direct() const { return direct_; }

  /// Whether the file still is what was opened. Errors: bad_file, io.
  result<void> check_unchanged() const;
  /// Drops the page cache of a range; nothing to do after direct reads.
  void drop_cached(uint64_t offset, uint64_t bytes) const;

 private:
  direct_file(std::filesystem::path path, int fd, file_identity identity, bool direct,
              writes allowed)
      : path_(std::move(path)), fd_(fd), identity_(identity), direct_(direct), allowed_(allowed) {}
  std::filesystem::path path_;
  int fd_;
  file_identity identity_;
  bool direct_;
  writes allowed_;
};
using direct_file_ptr = std::shared_ptr<const direct_file>;

} // namespace coel::model
