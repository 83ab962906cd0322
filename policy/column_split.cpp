#include "policy/column_split.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

/// When everything ends if the first `n` of the others help.
double end_of(uint32_t columns, const column_cost& self, const std::vector<column_cost>& others,
              size_t n) {
  double work = columns, rate = 1 / self.us_per_column;
  for (size_t i = 0; i < n; ++i) {
    work += others[i].fixed_us / others[i].us_per_column;
    rate += 1 / others[i].us_per_column;
  }
  return work / rate;
}

} // namespace

std::vector<column_part> split_columns(uint32_t columns, uint32_t unit, const column_cost& self,
                                       std::vector<column_cost> others) {
  if (!(self.us_per_column > 0))
    return {{self.host, 0, columns}};
  std::erase_if(others, [](const auto& o) { return !(o.us_per_column > 0 && o.fixed_us >= 0); });
  std::sort(others.begin(), others.end(), [](const auto& a, const auto& b) {
    return a.fixed_us != b.fixed_us ? a.fixed_us < b.fixed_us : a.host < b.host;
  });
  size_t helping = 0; // a further helper pays while its round trip ends before everything does
  while (helping < others.size() &&
         others[helping].fixed_us < end_of(columns, self, others, helping))
    ++helping;
  double end = end_of(columns, self, others, helping);
  std::vector<column_part> parts{{self.host, 0, columns}};
  uint32_t left = columns; // others take from the end, so that rounding falls on this node
  for (size_t i = 0; i < helping; ++i) {
    auto share = static_cast<uint32_t>((end - others[i].fixed_us) / others[i].us_per_column);
    uint32_t first = left - std::min(left, share);
    first = (first + unit / 2) / unit * unit;
    if (first >= left)
      continue;
    parts.push_back({others[i].host, first, left});
    left = first;
  }
  parts.front().end = left;
  std::reverse(parts.begin() + 1, parts.end());
  if (left == 0)
    parts.erase(parts.begin());
  return parts;
}

} // namespace coel::policy
