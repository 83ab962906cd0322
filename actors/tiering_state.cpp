#include "actors/tiering_state.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace coel::actors {

namespace {

constexpr uint64_t largest = uint64_t{1} << 30;

error system_error(const std::filesystem::path& path, const char* what) {
  return {ec::io, path.string() + ": " + what + ": " + std::strerror(errno)};
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

} // namespace

result<std::vector<std::byte>> read_state(const std::filesystem::path& path) {
  std::error_code failed;
  auto size = std::filesystem::file_size(path, failed);
  if (failed)
    return {ec::io, path.string() + ": " + failed.message()};
  if (size > largest)
    return {ec::bad_file, path.string() + ": is larger than any predictor"};
  std::vector<std::byte> bytes(size);
  std::ifstream in(path, std::ios::binary);
  if (!in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size)))
    return {ec::io, path.string() + ": cannot read"};
  return bytes;
}

result<void> write_state(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  if (path.empty())
    return {};
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  auto fresh = path;
  fresh += ".new";
  int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return system_error(fresh, "cannot write");
  bool good = write_all(fd, bytes) && ::fsync(fd) == 0;
  auto why = system_error(fresh, "cannot write");
  ::close(fd);
  if (!good) {
    ::unlink(fresh.c_str());
    return why;
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return system_error(path, "cannot replace");
  return {};
}

} // namespace coel::actors
