#include "apps/inspect/text.hpp"

#include <algorithm>
#include <cstdio>

namespace coel::inspect {

namespace {

constexpr size_t gap = 2;
constexpr size_t narrowest = 6;

/// One character, or one escape sequence, from `at` on.
struct glyph {
  size_t bytes = 1;
  size_t columns = 1;
};

bool is_wide(uint32_t c) {
  return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
         (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
         (c >= 0xff00 && c <= 0xff60) || (c >= 0x1f300 && c <= 0x1faff) || c >= 0x20000;
}

glyph next(std::string_view text, size_t at) {
  auto lead = static_cast<unsigned char>(text[at]);
  if (lead == 0x1b) {
    auto end = text.find('m', at);
    return {(end == std::string_view::npos ? text.size() : end + 1) - at, 0};
  }
  size_t bytes = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  bytes = std::min(bytes, text.size() - at);
  uint32_t code = bytes == 1 ? lead : lead & (0xffu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i)
    code = code << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3fu);
  return {bytes, is_wide(code) ? 2u : 1u};
}

/// At most `width` columns; a mark shows that something was cut.
std::string shortened(const std::string& text, size_t width, const look& how) {
  return columns(text) > width ? clipped(text, width - 1) + (how.unicode ? "…" : "~") : text;
}

std::string padded(const std::string& cell, size_t width, align side, const look& how) {
  auto text = shortened(cell, width, how);
  std::string space(width - columns(text), ' ');
  return side == align::left ? text + space : space + text;
}

} // namespace

size_t columns(std::string_view text) {
  size_t sum = 0;
  for (size_t at = 0; at < text.size();) {
    auto one = next(text, at);
    sum += one.columns;
    at += one.bytes;
  }
  return sum;
}

std::string clipped(std::string_view line, size_t width) {
  size_t at = 0, taken = 0;
  bool colour = false;
  while (at < line.size()) {
    auto one = next(line, at);
    if (taken + one.columns > width)
      break;
    colour = colour || one.columns == 0;
    taken += one.columns;
    at += one.bytes;
  }
  std::string out(line.substr(0, at));
  return colour && at < line.size() ? out + "\x1b[0m" : out;
}

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    auto second = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
    if (c == 0xc2 && second >= 0x80 && second < 0xa0) { // U+0080 to U+009F
      out += '?';
      ++i;
    } else {
      out += c < 0x20 || c == 0x7f ? '?' : text[i];
    }
  }
  return out;
}

std::string printable_lines(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    auto end = std::min(text.find('\n', at), text.size());
    out += printable(text.substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return out;
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string number_text(uint64_t value) {
  return std::to_string(value);
}

std::string counted(uint64_t n, const std::string& thing) {
  return number_text(n) + " " + thing + (n == 1 ? "" : "s");
}

std::string bytes_text(uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit)
    value /= 1024;
  return fixed(value, unit == 0 ? 0 : 1) + " " + units[unit];
}

std::string duration_text(double seconds) {
  auto s = static_cast<unsigned long long>(std::clamp(seconds, 0.0, 1e12));
  char text[64];
  std::snprintf(text, sizeof text, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
  return text;
}

std::string bar(double share, size_t cells, const look& how) {
  auto full = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(cells) + 0.5);
  std::string out;
  for (size_t i = 0; i < cells; ++i)
    out += i < full ? (how.unicode ? "█" : "#") : (how.unicode ? "░" : ".");
  return out;
}

std::string painted(std::string_view text, int colour, const look& how) {
  if (!how.colour)
    return std::string(text);
  return "\x1b[38;5;" + std::to_string(colour) + "m" + std::string(text) + "\x1b[0m";
}

std::string wrapped(const std::vector<std::string>& words, const std::string& space, size_t indent,
                    size_t width) {
  std::string out, line;
  for (const auto& word : words) {
    if (!line.empty() && columns(line) + columns(space) + columns(word) > width) {
      out += clipped(line, width) + "\n";
      line = std::string(indent, ' ') + word;
    } else {
      line += line.empty() ? word : space + word;
    }
  }
  return out + clipped(line, width) + "\n";
}

std::vector<size_t> table::widths(const look& how) const {
  std::vector<size_t> widths;
  size_t total = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t most = columns(columns_[c].title);
    for (const auto& row : rows_)
      most = std::max(most, columns(row[c]));
    widths.push_back(most);
    total += most + (c ? gap : 0);
  }
  while (total > how.width) {
    size_t widest = widths.size();
    for (size_t c = 0; c < widths.size(); ++c)
      if (columns_[c].side == align::left && widths[c] > narrowest &&
          (widest == widths.size() || widths[c] > widths[widest]))
        widest = c;
    if (widest == widths.size())
      break;
    --widths[widest];
    --total;
  }
  return widths;
}

std::string table::text(const look& how) const {
  auto wide = widths(how);
  std::string out;
  auto put = [&](auto cell) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); ++c)
      line += std::string(c ? gap : 0, ' ') + padded(cell(c), wide[c], columns_[c].side, how);
    line.erase(line.find_last_not_of(' ') + 1);
    out += shortened(line, how.width, how) + "\n";
  };
  put([&](size_t c) { return columns_[c].title; });
  for (const auto& row : rows_)
    put([&](size_t c) { return row[c]; });
  return out;
}

} // namespace coel::inspect
