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
