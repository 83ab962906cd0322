#include "policy/copy_over.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

constexpr double mib = 1 << 20;
constexpr double least_saving = 0.1;

} // namespace

void copy_costs::ran_slow(uint64_t bytes, uint64_t rows, uint32_t experts, double us) {
  if (experts == 0)
    return;
  double size = static_cast<double>(bytes) / mib;
  slow_.add(size, size * static_cast<double>(rows) / experts, us);
}

void copy_costs::copied(uint64_t bytes, double us) {
  if (bytes == 0)
    return;
  double now = us / (static_cast<double>(bytes) / mib);
  // The first are of the time when all is loaded at once.
  copy_us_per_mib_ = copies_ ? copy_us_per_mib_ + (now - copy_us_per_mib_) / 16 : now;
  ++copies_;
}

double copy_costs::slow_us(uint64_t bytes, uint32_t rows) const {
  double size = static_cast<double>(bytes) / mib;
  return slow_.at(size, size * rows);
}

double copy_costs::copy_us(uint64_t bytes) const {
  return copy_us_per_mib_ * static_cast<double>(bytes) / mib;
}

copy_plan plan_copies(std::span<const copy_candidate> all, const copy_costs& costs) {
  copy_plan best;
  for (const auto& c : all)
    best.alone_us += costs.slow_us(c.bytes, c.rows);
  best.us = best.alone_us;
  if (!costs.known())
    return best;
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < all.size(); ++i)
    if (all[i].copyable && costs.copy_us(all[i].bytes) < costs.slow_us(all[i].bytes, all[i].rows))
      order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return all[a].rows > all[b].rows; });
  double slow = best.alone_us, copying = 0;
  double limit = best.alone_us * (1 - least_saving);
  size_t count = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& c = all[order[i]];
    slow -= costs.slow_us(c.bytes, c.rows);
    copying += costs.copy_us(c.bytes);
    if (double us = std::max(slow, copying); us < limit && us < best.us) {
      best.us = us;
      count = i + 1;
    }
  }
  best.copies.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count));
  std::sort(best.copies.begin(), best.copies.end());
  return best;
}

} // namespace coel::policy
