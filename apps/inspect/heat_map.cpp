#include "apps/inspect/heat_map.hpp"

#include <algorithm>
#include <array>

namespace coel::inspect {

namespace {

constexpr std::array<double, heat_levels - 2> bounds{0.25, 0.5, 1, 1.5, 2, 4};
constexpr std::array<const char*, heat_levels> blocks{"·", "▁", "▂", "▃", "▄", "▅", "▆", "█"};
constexpr std::array<const char*, heat_levels> ascii{".", ":", "-", "=", "+", "*", "#", "@"};
/// Letters, so that they differ from the marks of what is here without colour too.
constexpr std::array<const char*, heat_levels> absent{"o", "o", "o", "x", "x", "x", "X", "X"};
/// Grey, then blue to red, of the 256-colour table.
constexpr std::array<int, heat_levels> colours{240, 24, 31, 37, 71, 178, 208, 196};

constexpr size_t label_width = 6; // "layer "

struct layout {
  size_t bucket = 1;     ///< experts of a cell
  size_t cell_width = 1; ///< columns of a cell
  size_t cells = 0;
};

layout layout_for(size_t experts, size_t width) {
  size_t room = std::max<size_t>(1, width > label_width ? width - label_width : 1);
  layout out;
  out.bucket = std::max<size_t>(1, (experts + room - 1) / room);
  out.cells = (experts + out.bucket - 1) / out.bucket;
  out.cell_width = out.cells * 2 <= room ? 2 : 1;
  return out;
}

std::string cell(const heat_row& row, size_t first, const layout& l, double even, const look& how) {
  size_t last = std::min(first + l.bucket, row.experts.size());
  double sum = 0;
  bool away = false;
  for (size_t e = first; e < last; ++e) {
    sum += row.experts[e].popularity;
    away = away || row.experts[e].absent;
  }
  auto level = heat_level(sum / static_cast<double>(last - first), even);
  std::string mark = away ? absent[level] : how.unicode ? blocks[level] : ascii[level];
  std::string wide;
  for (size_t i = 0; i < l.cell_width; ++i)
    wide += mark;
  return painted(wide, colours[level], how);
}

/// Expert ids above their cells, far enough apart to be read.
std::string ruler(size_t experts, const layout& l) {
  std::string out = "layer ";
  size_t step = l.bucket;
  for (size_t factor : {1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 256, 512, 1024})
    if (step = factor * l.bucket; factor * l.cell_width >= 8)
      break;
  for (size_t e = 0; e < experts; e += step) {
    auto at = label_width + e / l.bucket * l.cell_width;
    auto text = number_text(e);
    if (at < out.size() || at + text.size() > label_width + l.cells * l.cell_width)
      break;
    out += std::string(at - out.size(), ' ') + text;
  }
  return out;
}

std::string level_text(size_t level) {
  constexpr std::array<const char*, heat_levels> texts{"never", "<1/4", "<1/2", "<1",
                                                       "<1.5",  "<2",   "<4",   "4 and more"};
  return texts[level];
}

std::string legend(double even, bool any_absent, const look& how) {
  std::vector<std::string> words;
  for (size_t level = 0; level < heat_levels; ++level)
    words.push_back(painted(how.unicode ? blocks[level] : ascii[level], colours[level], how) + " " +
                    level_text(level));
  words.push_back("times the even share of " + fixed(even, 3) + " a token");
  if (any_absent)
    words.push_back("o x X not in memory: cold, warm, hot");
  words.front().insert(0, std::string(label_width, ' '));
  return wrapped(words, "  ", label_width, how.width);
}

} // namespace

size_t heat_level(double popularity, double even_share) {
  if (!(popularity > 0))
    return 0;
  if (!(even_share > 0))
    return 1;
  auto ratio = popularity / even_share;
  return 1 + static_cast<size_t>(std::upper_bound(bounds.begin(), bounds.end(), ratio) -
                                 bounds.begin());
}

std::string heat_map(const std::vector<heat_row>& rows, double even_share, const look& how) {
  size_t most = 0;
  bool any_absent = false;
  for (const auto& row : rows) {
    most = std::max(most, row.experts.size());
    for (const auto& e : row.experts)
      any_absent = any_absent || e.absent;
  }
  if (most == 0)
    return clipped("no routed experts", how.width) + "\n";
  auto l = layout_for(most, how.width);
  std::string out = clipped(ruler(most, l), how.width) + "\n";
  for (const auto& row : rows) {
    auto label = number_text(row.layer);
    std::string line = std::string(5 - std::min<size_t>(5, label.size()), ' ') + label + " ";
    for (size_t first = 0; first < row.experts.size(); first += l.bucket)
      line += cell(row, first, l, even_share, how);
    out += clipped(line, how.width) + "\n";
  }
  return out + legend(even_share, any_absent, how);
}

} // namespace coel::inspect
