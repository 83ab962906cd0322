// How often experts are used, as nodes tell each other: rough, so that plans change when the use
// does and not with every token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace coel::policy {

/// 0 for never, else 1 + 2 log2 of activations per token over 1/4096: steps of a factor of 1.4.
inline uint8_t quantise_popularity(double per_token) {
  constexpr double least = 1.0 / 4096;
  if (per_token < least)
    return 0;
  return static_cast<uint8_t>(std::min(255.0, 1 + std::round(2 * std::log2(per_token / least))));
}

inline double popularity_of(uint8_t quantised) {
  return quantised ? std::exp2((quantised - 1) / 2.0) / 4096 : 0;
}

/// The sum over nodes, rounded again, so that small differences vanish.
inline std::vector<double> combine_popularity(const std::vector<const std::vector<uint8_t>*>& nodes,
                                              size_t items) {
  std::vector<double> sum(items);
  for (const auto* one : nodes)
    for (size_t i = 0; i < std::min(items, one->size()); ++i)
      sum[i] += popularity_of((*one)[i]);
  for (auto& p : sum)
    p = quantise_popularity(p);
  return sum;
}

} // namespace coel::policy
