#include "net/keys.hpp"

#include <zmq.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace coel::net {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view public_name = "public-key";
constexpr std::string_view secret_name = "secret-key";
constexpr size_t largest_file_bytes = 4096;

std::string line(std::string_view name, const std::string& key) {
  return std::string(name) + " = \"" + key + "\"\n";
}

result<void> write_new(const fs::path& file, const std::string& content, mode_t mode) {
  int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0)
    return {ec::io, file.string() + ": " + std::strerror(errno)};
  auto written = ::write(fd, content.data(), content.size());
  bool good = written == static_cast<ssize_t>(content.size()) && ::close(fd) == 0;
  return good ? result<void>() : result<void>(ec::io, file.string() + ": could not be written");
}

result<std::string> read_small(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return {ec::io, file.string() + ": " + std::strerror(errno)};
  std::string content(largest_file_bytes + 1, '\0');
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<size_t>(in.gcount()));
  if (content.size() > largest_file_bytes)
    return {ec::bad_file, file.string() + ": too long for a key file"};
  return content;
}

// The quoted value after `name =` at the beginning of a line.
result<std::string> value_of(std::string_view name, const std::string& content,
                             const fs::path& file) {
  for (size_t at = 0; at < content.size();) {
    auto end = std::min(content.find('\n', at), content.size());
    auto text = std::string_view(content).substr(at, end - at);
    at = end + 1;
    if (!text.starts_with(name))
      continue;
    auto open = text.find('"');
    auto close = text.rfind('"');
    if (open == std::string_view::npos || close == open)
      break;
    std::string key(text.substr(open + 1, close - open - 1));
    if (auto checked = check_key(key, name); !checked.ok())
      return {ec::bad_file, file.string() + ": " + checked.err().message};
    return key;
  }
  return {ec::bad_file, file.string() + ": has no line '" + std::string(name) + " = \"...\"'"};
}

} // namespace

result<key_pair> generate_keys() {
  std::array<char, key_chars + 1> public_key{}, secret_key{};
  if (::zmq_curve_keypair(public_key.data(), secret_key.data()) != 0)
    return {ec::unsupported, "this libzmq was built without CURVE"};
  return key_pair{public_key.data(), secret_key.data()};
}

result<void> check_key(std::string_view key, std::string_view what) {
  std::array<uint8_t, key_chars * 4 / 5> bytes{};
  if (key.size() != key_chars ||
      ::zmq_z85_decode(bytes.data(), std::string(key).c_str()) == nullptr)
    return {ec::bad_argument,
            std::string(what) + ": a key has 40 characters of Z85; make one with 'coel keygen'"};
  return {};
}

result<void> write_keys(const fs::path& file, const key_pair& keys) {
  auto public_file = file;
  public_file += ".pub";
  auto public_line = line(public_name, keys.public_key);
  auto written =
      write_new(file, public_line + line(secret_name, keys.secret_key), S_IRUSR | S_IWUSR);
  return written.ok() ? write_new(public_file, public_line, 0644) : written;
}

result<key_pair> read_keys(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0)
    return {ec::io, file.string() + ": " + std::strerror(errno)};
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return {ec::bad_file,
            file.string() + ": holds a secret that others may read; run chmod 600 on it"};
  auto content = read_small(file);
  if (!content.ok())
    return content.err();
  auto public_key = value_of(public_name, *content, file);
  auto secret_key = value_of(secret_name, *content, file);
  if (!public_key.ok())
    return public_key.err();
  if (!secret_key.ok())
    return secret_key.err();
  std::array<char, key_chars + 1> derived{};
  if (::zmq_curve_public(derived.data(), secret_key->c_str()) != 0 || *public_key != derived.data())
    return {ec::bad_file, file.string() + ": its two keys do not belong together"};
  return key_pair{*public_key, *secret_key};
}

result<std::string> read_public_key(const fs::path& file) {
  auto content = read_small(file);
  if (!content.ok())
    return content.err();
  return value_of(public_name, *content, file);
}

} // namespace coel::net
