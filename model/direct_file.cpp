#include "model/direct_file.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace coel::model {

namespace {

error system_error(const std::filesystem::path& path, const char* what) {
  return {ec::io, path.string() + ": " + what + ": " + std::strerror(errno)};
}

// Without O_NONBLOCK a named pipe would wait for a writer.
constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

/// Whether a direct read of the first page works: some file systems accept the flag and refuse the
/// read.
bool reads_directly(int fd) {
  void* page = nullptr;
  if (posix_memalign(&page, direct_file::alignment, direct_file::alignment) != 0)
    return false;
  auto got = ::pread(fd, page, direct_file::alignment, 0);
  std::free(page);
  return got >= 0;
}

struct opened {
  int fd = -1;
  bool direct = false;
};

opened open_best(const std::filesystem::path& path) {
  int fd = ::open(path.c_str(), flags | O_DIRECT);
  if (fd >= 0 && reads_directly(fd))
    return {fd, true};
  if (fd >= 0)
    ::close(fd);
  fd = ::open(path.c_str(), flags);
  if (fd >= 0) // read-ahead would bring pages that nobody drops
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  return {fd, false};
}

} // namespace

result<direct_file_ptr> direct_file::open(const std::filesystem::path& path, writes allowed) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0)
    return system_error(path, "cannot open");
  if (!S_ISREG(about.st_mode))
    return {ec::bad_file, path.string() + ": not a regular file"};
  auto [fd, direct] = open_best(path);
  if (fd < 0)
    return system_error(path, "cannot open");
  if (::fstat(fd, &about) != 0) {
    auto why = system_error(path, "cannot stat");
    ::close(fd);
    return why;
  }
  direct_file_ptr made(new direct_file(path, fd, identity_of(about), direct, allowed));
  if (!S_ISREG(about.st_mode))
    return {ec::bad_file, path.string() + ": not a regular file"};
  if (about.st_size == 0)
    return {ec::bad_file, path.string() + ": the file is empty"};
  return made;
}

direct_file::~direct_file() {
  ::close(fd_);
}

result<void> direct_file::check_unchanged() const {
  struct stat about {};
  if (::fstat(fd_, &about) != 0)
    return system_error(path_, "cannot stat");
  auto now = identity_of(about);
  if (now.size != identity_.size)
    return {ec::bad_file, path_.string() + ": has " + std::to_string(now.size) + " bytes, had " +
                              std::to_string(identity_.size) +
                              " when it was opened: put the file back and restart the node"};
  if (allowed_ == writes::refused && now.modified_ns != identity_.modified_ns)
    return {ec::bad_file,
            path_.string() + ": was written to since it was opened: restart the node"};
  return {};
}

void direct_file::drop_cached(uint64_t offset, uint64_t bytes) const {
  if (!direct_)
    ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                    POSIX_FADV_DONTNEED);
}

} // namespace coel::model
