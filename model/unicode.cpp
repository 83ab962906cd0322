#include "model/unicode.hpp"

#include <algorithm>

namespace coel::model {

namespace {

struct scan {
  size_t bytes = 0;      ///< of the character, or of its longest beginning that could be one
  bool whole = false;
};

/// Unicode 15, table 3-7: the first byte sets the length and the range of the second.
scan scan_character(std::string_view text) {
  if (text.empty())
    return {};
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto first = byte(0);
  if (first < 0x80)
    return {1, true};
  if (first < 0xc2 || first > 0xf4)
    return {};
  const size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  uint8_t low = 0x80, high = 0xbf;
  if (first == 0xe0)
    low = 0xa0;
  else if (first == 0xed)
    high = 0x9f;
  else if (first == 0xf0)
    low = 0x90;
  else if (first == 0xf4)
    high = 0x8f;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size() || byte(i) < low || byte(i) > high)
      return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true};
}

} // namespace

size_t utf8_length(std::string_view text) {
  const auto s = scan_character(text);
  return s.whole ? s.bytes : 0;
}

size_t incomplete_utf8_tail(std::string_view text) {
  for (auto n = std::min<size_t>(3, text.size()); n > 0; --n) {
    const auto s = scan_character(text.substr(text.size() - n));
    if (!s.whole && s.bytes == n)
      return n;
  }
  return 0;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto s = scan_character(text);
    const auto bytes = std::max<size_t>(s.bytes, 1);
    if (s.whole)
      out.append(text.substr(0, bytes));
    else
      out += "\xef\xbf\xbd";
    text.remove_prefix(bytes);
  }
  return out;
}

uint32_t utf8_decode(std::string_view text) {
  const auto length = utf8_length(text);
  const auto first = static_cast<uint8_t>(text.empty() ? 0 : text[0]);
  if (length <= 1)
    return first;
  uint32_t code = first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i)
    code = code << 6 | (static_cast<uint8_t>(text[i]) & 0x3fu);
  return code;
}

void append_utf8(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    tail(12), tail(6), tail(0);
  }
}

} // namespace coel::model
