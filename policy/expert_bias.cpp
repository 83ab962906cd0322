#include "policy/expert_bias.hpp"

#include <algorithm>
#include <vector>

namespace coel::policy {

namespace {

/// The best k experts of a set, by falling probability; fewer if the set is small.
std::vector<int32_t> best_of(std::span<const float> p, std::span<const uint8_t> may, size_t k) {
  std::vector<int32_t> all;
  for (size_t e = 0; e < p.size(); ++e)
    if (may[e])
      all.push_back(static_cast<int32_t>(e));
  auto n = std::min(k, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end(),
                    [&](int32_t a, int32_t b) {
                      auto pa = p[static_cast<size_t>(a)], pb = p[static_cast<size_t>(b)];
                      return pa != pb ? pa > pb : a < b;
                    });
  all.resize(n);
  return all;
}

double mass(std::span<const float> p, std::span<const int32_t> ids) {
  double sum = 0;
  for (auto id : ids)
    sum += p[static_cast<size_t>(id)];
  return sum;
}

} // namespace

bool prefer_near(std::span<const float> probability, std::span<const uint8_t> local,
                 std::span<const uint8_t> near, double bound, bool renormalised,
                 std::span<int32_t> ids, std::span<float> weights) {
  if (!(bound > 0) || ids.empty())
    return false;
  if (std::all_of(ids.begin(), ids.end(), [&](int32_t e) { return near[static_cast<size_t>(e)]; }))
    return false; // no node more is asked for them
  double chosen = mass(probability, ids);
  for (auto may : {local, near}) {
    auto best = best_of(probability, may, ids.size());
    double kept = mass(probability, best);
    if (best.size() < ids.size() || 1 - kept / chosen > bound)
      continue;
    // The scale between probability and weight is the model's own (1, or a routed scaling factor).
    double weight = 0;
    for (auto w : weights)
      weight += w;
    double scale = renormalised ? weight / kept : weight / chosen;
    for (size_t i = 0; i < ids.size(); ++i) {
      ids[i] = best[i];
      weights[i] = static_cast<float>(probability[static_cast<size_t>(best[i])] * scale);
    }
    return true;
  }
  return false;
}

} // namespace coel::policy
