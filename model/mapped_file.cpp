#include "model/mapped_file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace coel::model {

namespace {

error system_error(const std::filesystem::path& path, const char* what) {
  return {ec::io, path.string() + ": " + what + ": " + std::strerror(errno)};
}

struct descriptor {
  int fd;
  ~descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};

} // namespace

result<mapped_file_ptr> mapped_file::open(const std::filesystem::path& path) {
  // Without O_NONBLOCK a named pipe would wait for a writer.
  descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.fd < 0)
    return system_error(path, "cannot open");
  struct stat about {};
  if (::fstat(file.fd, &about) != 0)
    return system_error(path, "cannot stat");
  if (!S_ISREG(about.st_mode))
    return {ec::bad_file, path.string() + ": not a regular file"};
  if (about.st_size == 0)
    return {ec::bad_file, path.string() + ": the file is empty"};
  auto size = static_cast<size_t>(about.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED)
    return system_error(path, "cannot map");
  return mapped_file_ptr(
      new mapped_file(path, identity_of(about), static_cast<const std::byte*>(data)));
}

mapped_file::mapped_file(std::filesystem::path path, const file_identity& identity,
                         const std::byte* data)
    : path_(std::move(path)), identity_(identity), data_(data), size_(identity.size) {}

mapped_file::~mapped_file() {
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void mapped_file::release(const std::byte* from, uint64_t count) const {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto begin = (reinterpret_cast<uintptr_t>(from) + page - 1) & ~(page - 1);
  auto end = reinterpret_cast<uintptr_t>(from + count) & ~(page - 1);
  if (begin < end)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void mapped_file::expect_single_rows() const {
  auto* all = const_cast<std::byte*>(data_);
  ::madvise(all, size_, MADV_DONTNEED); // pages that are mapped would stay
  ::madvise(all, size_, MADV_RANDOM);
  descriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd >= 0)
    ::posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
}

} // namespace coel::model
