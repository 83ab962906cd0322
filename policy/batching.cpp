#include "policy/batching.hpp"

#include <algorithm>

namespace coel::policy {

namespace {

/// Rows and logits that a step has left to give.
struct room {
  uint32_t rows;
  uint32_t logits;
};

void add_prompt(std::vector<batch_share>& plan, const batch_candidate& c, room& left) {
  uint32_t rows = std::min(c.rows, left.rows);
  if (c.every_row)
    rows = std::min(rows, left.logits);
  bool ends = rows == c.rows;
  if (ends && left.logits == 0) { // its last row waits for a step with room for logits
    --rows;
    ends = false;
  }
  if (rows == 0)
    return;
  bool logits = c.every_row || ends;
  left.rows -= rows;
  left.logits -= c.every_row ? rows : ends ? 1 : 0;
  plan.push_back({c.id, rows, logits});
}

} // namespace

std::vector<batch_share> plan_batch(std::vector<batch_candidate> candidates,
                                    const batching_limits& limits) {
  std::vector<batch_share> plan;
  room left{limits.max_rows, limits.max_logits};
  for (const auto& c : candidates)
    if (c.decoding && left.rows && left.logits) {
      plan.push_back({c.id, 1, true});
      --left.rows;
      --left.logits;
    }
  if (!plan.empty())
    left.rows = std::min(left.rows, limits.slice_rows);
  std::erase_if(candidates, [](const auto& c) { return c.decoding; });
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.slices_run < b.slices_run; });
  for (const auto& c : candidates)
    if (left.rows)
      add_prompt(plan, c, left);
  return plan;
}

} // namespace coel::policy
