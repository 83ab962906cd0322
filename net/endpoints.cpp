#include "net/endpoints.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace coel::net {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view ipc_prefix = "ipc://";
constexpr std::string_view tcp_prefix = "tcp://";

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "[::1]" || host == "::1" || host.starts_with("127.");
}

result<void> check_folder(const fs::path& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0)
    return {ec::io, folder.string() + ": " + std::strerror(errno)};
  bool ours = info.st_uid == ::geteuid() || info.st_uid == 0;
  bool others_write = (info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (info.st_mode & S_ISVTX) == 0;
  if (!ours || others_write)
    return {ec::bad_argument, folder.string() +
                                  ": another user may put a socket there; choose a folder that "
                                  "belongs to you, with mode 0700"};
  return {};
}

} // namespace

std::string default_endpoint() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::string folder = runtime != nullptr && *runtime == '/'
                           ? std::string(runtime) + "/coel"
                           : "/tmp/coel-" + std::to_string(::geteuid());
  return std::string(ipc_prefix) + folder + "/node.sock";
}

fs::path socket_path(const std::string& endpoint) {
  return endpoint.starts_with(ipc_prefix) ? fs::path(endpoint.substr(ipc_prefix.size()))
                                          : fs::path();
}

result<endpoint_kind> classify_endpoint(const std::string& endpoint) {
  if (endpoint.starts_with(ipc_prefix)) {
    auto path = socket_path(endpoint).string();
    constexpr size_t longest = sizeof(sockaddr_un::sun_path) - 1;
    if (!path.starts_with('/') || path.size() > longest)
      return {ec::bad_argument, "endpoint " + endpoint +
                                    ": the path must be absolute and of at most " +
                                    std::to_string(longest) + " bytes"};
    return endpoint_kind::ipc;
  }
  auto colon = endpoint.rfind(':');
  if (!endpoint.starts_with(tcp_prefix) || colon < tcp_prefix.size() + 1 ||
      colon + 1 == endpoint.size())
    return {ec::bad_argument, "endpoint " + endpoint + ": must be ipc:///PATH or tcp://HOST:PORT"};
  auto host = std::string_view(endpoint).substr(tcp_prefix.size(), colon - tcp_prefix.size());
  return is_loopback(host) ? endpoint_kind::tcp_loopback : endpoint_kind::tcp;
}

bool somebody_listens(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  auto name = path.string();
  if (name.size() >= sizeof address.sun_path)
    return false;
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return false;
  bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
}

void remove_socket_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::symlink_status(path, ignored).type() == fs::file_type::socket && !somebody_listens(path))
    fs::remove(path, ignored);
}

result<void> prepare_socket_path(const fs::path& path) {
  std::error_code failure;
  auto folder = path.parent_path();
  if (!fs::exists(folder, failure)) {
    fs::create_directories(folder.parent_path(), failure);
    if (::mkdir(folder.c_str(), S_IRWXU) != 0 && errno != EEXIST)
      return {ec::io, folder.string() + ": cannot be created: " + std::strerror(errno)};
  }
  if (auto checked = check_folder(folder); !checked.ok())
    return checked;
  auto status = fs::symlink_status(path, failure);
  if (!fs::exists(status))
    return {};
  if (status.type() != fs::file_type::socket)
    return {ec::bad_argument,
            path.string() + ": exists and is not a socket; choose another endpoint"};
  if (somebody_listens(path))
    return {ec::bad_argument,
            path.string() + ": another node listens there; stop it or choose another endpoint"};
  fs::remove(path, failure);
  if (failure)
    return {ec::io, path.string() +
                        ": left behind by another node, cannot be removed: " + failure.message()};
  return {};
}

} // namespace coel::net
