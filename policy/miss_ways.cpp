#include "policy/miss_ways.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

/// Of its bytes, those still to be read.
uint64_t left_of(const claimed_expert& e, const miss_rates& rates) {
  auto there = std::max(e.under_way_us - rates.disk_fixed_us, 0.0) * rates.disk_bytes_per_s / 1e6;
  return e.bytes - std::min(e.bytes, static_cast<uint64_t>(there));
}

} // namespace

std::vector<miss_way> ways_of(std::span<const claimed_expert> claimed, const miss_rates& rates,
                              double first_us) {
  std::vector<miss_way> ways(claimed.size(), miss_way::wait);
  double now_us = first_us; // the processor's turn for the next
  uint64_t before = 0;      // of the disk
  for (size_t i = 0; i < claimed.size(); ++i) {
    const auto& e = claimed[i];
    double run_us = rates.run_fixed_us + rates.run_row_us * e.rows;
    if (e.here) {
      now_us += run_us;
      continue;
    }
    miss_question q;
    q.bytes = left_of(e, rates);
    q.bytes_before = before;
    q.disk_bytes_per_s = rates.disk_bytes_per_s;
    q.disk_fixed_us = e.under_way_us > 0 ? 0 : rates.disk_fixed_us;
    q.pack_us = rates.pack_us;
    q.run_us = run_us;
    q.meanwhile_us = now_us;
    if (e.copy)
      q.lower_run_us = run_us;
    auto answer = choose_way(q);
    ways[i] = answer.way;
    if (answer.way == miss_way::wait)
      before += q.bytes;
    now_us += answer.us;
  }
  return ways;
}

} // namespace coel::policy
