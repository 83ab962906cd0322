// What a node does with a model whose experts do not all fit its memory: shared by its actors.
#pragma once

#include "actors/interfaces.hpp"
#include "model/disk_reader.hpp"
#include "model/expert_files.hpp"
#include "model/expert_store.hpp"
#include "policy/memory_budget.hpp"

#include <atomic>

namespace coel::actors {

class lower_copies;

/// What experts tell of themselves; written by their supplier.
struct expert_line {
  std::atomic<uint64_t> rows{0};
  std::atomic<uint64_t> bytes{0}; ///< in memory
};

/// The same for all actors of the model; does not change once they run.
struct tiering {
  memory_needs needs;
  policy::memory_plan plan;
  model::expert_files files;
  model::expert_store_ptr store;       ///< read instead; null: none
  std::shared_ptr<lower_copies> lower; ///< lent instead of what is missing; null: none are
  std::filesystem::path state_file;    ///< of the predictor; empty: it is not kept
  model::disk_reader::make_engine engine = model::make_read_engine;
  supplier_actor supplier; ///< set before the first request, as is the next
  foreseer_actor foreseer;
  /// Of a pool: only what no node holds is asked of it, and only while there is something (the
  /// updater decides). Set after the supplier, which then stays.
  bool is_pool = false;
  double share = 0; ///< of a pool: of this node's room for the model
  std::atomic<bool> lends{true};
  std::atomic<uint64_t> demand_us{0}; ///< a read that is waited for, lately; 0: none was yet
  std::atomic<float> waits{-1};   ///< share of claimed experts that are, in decoding; -1: not known
  std::vector<expert_line> board; ///< [layers, experts]
  std::atomic<uint64_t> next_step{1};

  tiering(memory_needs n, policy::memory_plan p, model::expert_files f, size_t experts)
      : needs(n), plan(p), files(std::move(f)), board(experts) {}

  /// [layers, experts], in memory
  const std::vector<uint64_t>& resident_bytes() const {
    return store ? store->resident_bytes() : files.resident_bytes();
  }
};

/// What reading takes in memory besides the experts that it brings: rings, routers.
inline uint64_t beside_bytes(const tiering& t) {
  return t.plan.staging_bytes + t.plan.process_bytes;
}

/// Who lends experts of the model now, besides those that are held here; null: nobody.
inline tiering* lender_of(const served_model& m) {
  if (m.tiered)
    return m.tiered.get();
  return m.pool && m.pool->lends.load(std::memory_order_acquire) ? m.pool.get() : nullptr;
}

} // namespace coel::actors
