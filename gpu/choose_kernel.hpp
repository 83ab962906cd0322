// From what a router chose to tasks of the matrix kernels, on the card: one block, as many threads
// as picks. So the host need not know which experts a step uses before it has run.
#pragma once

#include "gpu/row_kernels.hpp"

namespace coel::gpu {

/// Rows of one run_chosen: as many as the tiles take that read a weight once, so few that a block's
/// threads can compare all picks with each other.
inline constexpr uint32_t most_chosen_rows = 16;
inline constexpr uint32_t most_picks = most_chosen_rows * most_top_k;

struct choose_memory {
  uint32_t id[most_picks];
  uint32_t leads[most_picks]; ///< the first pick of its expert
};

/// Where a pick is among all, by (expert, row).
struct pick_place {
  uint32_t first = 0;  ///< picks of smaller experts: where its expert's slots begin
  uint32_t before = 0; ///< of the same expert
  uint32_t count = 0;  ///< of the same expert, all
  uint32_t group = 0;  ///< smaller experts that were picked
};

COEL_DEVICE pick_place place_of(const choose_memory& m, uint32_t pick, uint32_t picks) {
  pick_place at;
  uint32_t id = m.id[pick];
  for (uint32_t q = 0; q < picks; ++q) {
    at.first += m.id[q] < id;
    at.group += m.id[q] < id && m.leads[q];
    at.count += m.id[q] == id;
    at.before += m.id[q] == id && q < pick;
  }
  return at;
}

/// Among the picks of its row.
COEL_DEVICE uint32_t rank_in_row(const choose_memory& m, uint32_t pick, uint32_t top_k) {
  uint32_t rank = 0, first = pick / top_k * top_k;
  for (uint32_t q = first; q < first + top_k; ++q)
    rank += m.id[q] < m.id[pick] || (m.id[q] == m.id[pick] && q < pick);
  return rank;
}

COEL_DEVICE void write_tasks(const choose_args& args, uint32_t id, const pick_place& at) {
  const expert_address& e = args.experts[id];
  const std::byte* weight[3] = {e.gate, e.up, e.down};
  for (uint32_t m = 0; m < 3; ++m) {
    matrix_task t = args.like[m];
    t.weight = weight[m];
    t.out += uint64_t{at.first} * t.out_cols;
    t.count = at.count;
    if (m == 2)
      t.first_x = at.first;
    else
      t.x_rows = args.x_rows + at.first;
    args.tasks[m * args.groups + at.group] = t;
  }
}

COEL_DEVICE void choose(const choose_args& args) {
  COEL_SHARED(choose_memory, shared);
  uint32_t picks = args.rows * args.top_k;
  for (uint32_t p = simt::thread(); p < picks; p += row_threads) {
    auto id = static_cast<uint32_t>(args.ids[p]);
    shared.id[p] = id < args.of_layer ? id : args.of_layer - 1; // never beyond the table
  }
  simt::sync();
  for (uint32_t p = simt::thread(); p < picks; p += row_threads) {
    uint32_t same = 0;
    for (uint32_t q = 0; q < p; ++q)
      same += shared.id[q] == shared.id[p];
    shared.leads[p] = same == 0;
  }
  simt::sync();
  for (uint32_t p = simt::thread(); p < picks; p += row_threads) {
    pick_place at = place_of(shared, p, picks);
    uint32_t slot = at.first + at.before, row = p / args.top_k;
    args.x_rows[slot] = row;
    args.shares[row * args.top_k + rank_in_row(shared, p, args.top_k)] = {nullptr, args.weights[p],
                                                                          slot};
    if (shared.leads[p])
      write_tasks(args, shared.id[p], at);
  }
  uint32_t used = 0;
  for (uint32_t p = 0; p < picks; ++p)
    used += shared.leads[p];
  for (uint32_t g = used + simt::thread(); g < args.groups; g += row_threads)
    for (uint32_t m = 0; m < 3; ++m)
      args.tasks[m * args.groups + g] = args.like[m]; // of no rows
}

} // namespace coel::gpu
