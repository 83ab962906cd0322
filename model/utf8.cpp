#include "model/utf8.hpp"

#include <algorithm>

namespace coel::model {

namespace {

struct lead_rule {
  uint8_t first, last; // lead bytes
  uint8_t length;
  uint8_t second_min, second_max;
};

// Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
constexpr lead_rule rules[] = {
    {0x00, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

} // namespace

size_t utf8_length(std::string_view s, size_t at, bool* cut) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(s[at + i]); };
  for (const auto& r : rules) {
    if (byte(0) < r.first || byte(0) > r.last)
      continue;
    size_t here = std::min<size_t>(r.length, s.size() - at);
    for (size_t i = 1; i < here; ++i)
      if (byte(i) < (i == 1 ? r.second_min : 0x80) || byte(i) > (i == 1 ? r.second_max : 0xbf))
        return 0;
    if (here == r.length)
      return here;
    if (cut)
      *cut = true;
    return 0;
  }
  return 0;
}

void append_utf8(std::string& to, uint32_t c) {
  auto put = [&](uint32_t x) { to.push_back(static_cast<char>(x)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 63));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 63));
    put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  }
}

uint32_t utf8_code_point(std::string_view s, size_t at) {
  size_t n = utf8_length(s, at);
  uint32_t c = static_cast<uint8_t>(s[at]);
  if (n <= 1)
    return c;
  c &= 0x7fu >> n;
  for (size_t i = 1; i < n; ++i)
    c = c << 6 | (static_cast<uint8_t>(s[at + i]) & 63u);
  return c;
}

} // namespace coel::model
