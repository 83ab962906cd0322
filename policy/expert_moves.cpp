#include "policy/expert_moves.hpp"

#include <algorithm>

namespace coel::policy {

std::vector<size_t> by_popularity(std::vector<size_t> experts,
                                  const std::vector<double>& popularity, bool rising) {
  auto of = [&](size_t i) { return i < popularity.size() ? popularity[i] : 0; };
  std::stable_sort(experts.begin(), experts.end(),
                   [&](size_t a, size_t b) { return rising ? of(a) < of(b) : of(a) > of(b); });
  return experts;
}

std::vector<size_t> wanted(const bitmap& plan, const bitmap& holds,
                           const std::set<size_t>& loading) {
  std::vector<size_t> out;
  for (size_t i = 0; i < plan.size(); ++i)
    if (plan.test(i) && !holds.test(i) && !loading.count(i))
      out.push_back(i);
  return out;
}

std::vector<size_t> in_order_of_need(std::vector<size_t> wanted,
                                     const std::vector<double>& popularity,
                                     const expert_test& on_disk,
                                     const expert_test& held_elsewhere) {
  auto out = by_popularity(std::move(wanted), popularity, false);
  std::stable_partition(out.begin(), out.end(), [&](size_t i) { return !held_elsewhere(i); });
  std::stable_partition(out.begin(), out.end(), on_disk);
  return out;
}

std::vector<size_t> to_retire(const retirement_problem& p, const expert_test& kept_elsewhere) {
  auto kept = p.holds.count() - p.retiring.count() + p.coming;
  if (kept <= p.room)
    return {};
  std::vector<size_t> spare;
  for (size_t i = 0; i < p.holds.size(); ++i)
    if (p.holds.test(i) && !p.plan.test(i) && !p.retiring.test(i) && kept_elsewhere(i))
      spare.push_back(i);
  auto out = by_popularity(std::move(spare), p.popularity, true);
  out.resize(std::min<size_t>(out.size(), kept - p.room));
  return out;
}

} // namespace coel::policy
