// Repeated timings and what is said of them.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace coel::bench {

struct spread {
  double median = 0, least = 0, most = 0;
};

inline spread summary(std::vector<double> values) {
  if (values.empty())
    return {};
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

template <class Work>
double seconds(Work work) {
  auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

} // namespace coel::bench
