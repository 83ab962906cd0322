#include "bench/series.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace coel::bench {

namespace {

/// Linear between the two neighbours of the place asked for.
double quantile(std::vector<double> values, double share) {
  assert(!values.empty());
  std::sort(values.begin(), values.end());
  double at = share * static_cast<double>(values.size() - 1);
  auto below = static_cast<size_t>(at);
  size_t above = std::min(below + 1, values.size() - 1);
  double part = at - static_cast<double>(below);
  return values[below] * (1 - part) + values[above] * part;
}

} // namespace

double series::median() const {
  return quantile(values, 0.5);
}
double series::least() const {
  return quantile(values, 0);
}
double series::most() const {
  return quantile(values, 1);
}

double series::spread() const {
  double middle = median();
  return middle != 0 ? (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / std::fabs(middle)
                     : 0;
}

} // namespace coel::bench
