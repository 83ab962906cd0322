// Takes values from the front of the input; past its end they are zero and empty.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace coel::fuzz {

class byte_reader {
 public:
  byte_reader(const uint8_t* data, size_t size)
      : left_(reinterpret_cast<const char*>(data), size) {}

  uint8_t byte() {
    auto one = take(1);
    return one.empty() ? uint8_t{0} : static_cast<uint8_t>(one[0]);
  }
  float real() {
    float x = 0;
    auto bytes = take(sizeof x);
    std::memcpy(&x, bytes.data(), bytes.size());
    return x;
  }
  /// A length of one byte, then that many bytes.
  std::string_view text() { return take(byte()); }
  std::string_view rest() { return take(left_.size()); }
  bool empty() const { return left_.empty(); }

 private:
  std::string_view take(size_t n) {
    auto taken = left_.substr(0, std::min(n, left_.size()));
    left_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view left_;
};

/// Pieces between separators; always at least `least`, the missing ones empty.
inline std::vector<std::string_view> split(std::string_view text, char separator, size_t least) {
  std::vector<std::string_view> pieces;
  for (size_t begin = 0, end = 0; end != text.npos; begin = end + 1) {
    end = text.find(separator, begin);
    pieces.push_back(text.substr(begin, end == text.npos ? end : end - begin));
  }
  pieces.resize(std::max(pieces.size(), least));
  return pieces;
}

} // namespace coel::fuzz
