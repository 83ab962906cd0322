#include "policy/stage_batches.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

constexpr uint32_t least_rows = 8; // of a slice that is worth its messages

double turn_us(const slice_cost& c, double rows) {
  double touched = c.experts * (1 - std::pow(1 - double{1} * c.top_k / c.experts, rows));
  return c.dense.layer_us + (rows - 1) * c.dense.layer_row_us + touched * c.expert.expert_us +
         rows * c.top_k * c.expert.row_us;
}

} // namespace

uint32_t slice_rows_for(uint32_t rows, uint32_t stages, const slice_cost& cost, uint32_t most) {
  most = std::max(1u, most);
  if (stages < 2 || rows <= least_rows || cost.experts == 0 || cost.top_k > cost.experts ||
      cost.expert.expert_us + cost.expert.row_us <= 0)
    return most;
  uint32_t best = std::min(rows, most);
  double least = 0;
  for (uint32_t n = (rows + most - 1) / most; n <= (rows + least_rows - 1) / least_rows; ++n) {
    uint32_t slice = (rows + n - 1) / n;
    double us = (stages + n - 1) * turn_us(cost, slice);
    if (least == 0 || us < least) {
      least = us;
      best = slice;
    }
  }
  return best;
}

} // namespace coel::policy
