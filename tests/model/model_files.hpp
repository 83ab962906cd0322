// Model files written by hand, so that any field of them can be wrong.
#pragma once

#include "common/result.hpp"
#include "model/utf8.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace coel::test {

/// A folder of its own that goes away with the test.
class scratch {
 public:
  scratch() {
    auto name = (std::filesystem::temp_directory_path() / "coel-model-test-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
  }
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;

  std::filesystem::path put(const std::string& name, std::string_view content) const {
    std::ofstream out(folder / name, std::ios::binary);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    return folder / name;
  }
  std::filesystem::path folder;
};

/// A file in memory, of which bytes are changed in place: thousands of damages cost no disk.
class damaged_file {
 public:
  explicit damaged_file(std::string whole)
      : whole_(std::move(whole)), fd_(::memfd_create("damaged", MFD_CLOEXEC)) {
    BOOST_REQUIRE(fd_ >= 0);
    change(0, whole_);
  }
  ~damaged_file() { ::close(fd_); }
  damaged_file(const damaged_file&) = delete;
  damaged_file& operator=(const damaged_file&) = delete;

  void change(size_t at, std::string_view bytes) const {
    BOOST_REQUIRE(::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
                  static_cast<ssize_t>(bytes.size()));
  }
  void flip(size_t at, int bit) const {
    const char flipped = static_cast<char>(whole_[at] ^ 1 << bit);
    change(at, {&flipped, 1});
  }
  void restore(size_t at, size_t count) const {
    change(at, std::string_view(whole_).substr(at, count));
  }
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  std::string whole_;
  int fd_;
};

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline bool is_utf8(std::string_view text) {
  for (size_t at = 0, n = 0; at < text.size(); at += n)
    if (n = model::utf8_length(text, at); n == 0)
      return false;
  return true;
}

/// What every message about a file owes its reader: the file, a reason, and no flood of text.
inline bool presentable(const std::string& message, const std::filesystem::path& path) {
  const auto control = [](char c) { return static_cast<uint8_t>(c) < 0x20; };
  return message.find(path.string()) != message.npos &&
         message.size() > path.string().size() + 10 && message.size() < 1000 && is_utf8(message) &&
         std::find_if(message.begin(), message.end(), control) == message.end();
}

/// An error of that code whose message names the file and holds `part`.
template <class T>
void check_refused(const result<T>& opened, ec code, const std::filesystem::path& path,
                   std::string_view part) {
  BOOST_REQUIRE_MESSAGE(!opened.ok(), "accepted; expected: " << part);
  const auto& e = opened.err();
  BOOST_TEST((e.code == code), e.message);
  BOOST_TEST(presentable(e.message, path), e.message);
  BOOST_TEST(e.message.find(part) != e.message.npos, e.message << "; expected: " << part);
}

/// An integer or float as its bytes, little-endian.
template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string raw_text(std::string_view text) {
  return raw<uint64_t>(text.size()) + std::string(text);
}

} // namespace coel::test
