#include "model/manifest_io.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace coel::model {

error system_error(const std::filesystem::path& path, const char* what) {
  return {ec::io, path.string() + ": cannot " + what + ": " + std::strerror(errno)};
}

result<file_handle> file_handle::open(const std::filesystem::path& path, int flags) {
  file_handle file(path, ::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (file.fd_ < 0)
    return system_error(path, "open");
  auto about = file.about();
  if (!about)
    return about.err();
  if (!S_ISREG(about->st_mode))
    return {ec::bad_file, path.string() + ": not a regular file"};
  return file;
}

result<file_handle> file_handle::open_to_read(const std::filesystem::path& path) {
  return open(path, O_RDONLY);
}

result<file_handle> file_handle::open_to_write(const std::filesystem::path& path) {
  return open(path, O_RDWR | O_CREAT | O_NOFOLLOW);
}

file_handle::file_handle(file_handle&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

file_handle& file_handle::operator=(file_handle&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

file_handle::~file_handle() {
  if (fd_ >= 0)
    ::close(fd_);
}

result<struct stat> file_handle::about() const {
  struct stat s {};
  if (::fstat(fd_, &s) != 0)
    return system_error(path_, "stat");
  return s;
}

result<void> file_handle::read_at(uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    auto n = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return system_error(path_, "read");
    if (n == 0)
      return {ec::io, path_.string() + ": ends before byte " + std::to_string(offset + to.size())};
    offset += static_cast<uint64_t>(n);
    to = to.subspan(static_cast<size_t>(n));
  }
  return {};
}

result<void> file_handle::write_at(uint64_t offset, std::span<const std::byte> from) const {
  while (!from.empty()) {
    auto n = ::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return system_error(path_, "write");
    offset += static_cast<uint64_t>(n);
    from = from.subspan(static_cast<size_t>(n));
  }
  return {};
}

result<void> file_handle::resize(uint64_t bytes) const {
  if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0)
    return system_error(path_, "resize");
  return {};
}

result<void> file_handle::sync() const {
  if (::fdatasync(fd_) != 0)
    return system_error(path_, "write out");
  return {};
}

result<std::vector<std::byte>> read_whole(const std::filesystem::path& path, uint64_t most_bytes) {
  auto file = file_handle::open_to_read(path);
  if (!file)
    return file.err();
  auto about = file->about();
  if (!about)
    return about.err();
  auto size = static_cast<uint64_t>(about->st_size);
  if (size > most_bytes)
    return {ec::bad_file, path.string() + ": larger than " + std::to_string(most_bytes) + " bytes"};
  std::vector<std::byte> bytes(size);
  if (auto ok = file->read_at(0, bytes); !ok)
    return ok.err();
  return bytes;
}

result<void> replace_whole(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  auto beside = path;
  beside += ".part" + std::to_string(::getpid());
  auto file = file_handle::open_to_write(beside);
  if (!file)
    return file.err();
  auto done = file->resize(0);
  if (done)
    done = file->write_at(0, bytes);
  if (done)
    done = file->sync();
  if (done && ::rename(beside.c_str(), path.c_str()) != 0)
    done = system_error(path, "put in place");
  if (!done)
    ::unlink(beside.c_str());
  return done;
}

result<void> make_folder(const std::filesystem::path& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed)
    return {ec::io, path.string() + ": cannot make the folder: " + failed.message()};
  return {};
}

} // namespace coel::model
