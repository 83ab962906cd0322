// What tells one file from another that has taken its name, or from itself after a write.
#pragma once

#include <cstdint>
#include <sys/stat.h>

namespace coel::model {

struct file_identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  bool operator==(const file_identity&) const = default;
};

inline file_identity identity_of(const struct ::stat& about) {
  return {about.st_dev, about.st_ino, static_cast<uint64_t>(about.st_size),
          int64_t{about.st_mtim.tv_sec} * 1'000'000'000 + about.st_mtim.tv_nsec};
}

} // namespace coel::model
