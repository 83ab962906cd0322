// What a node does with a model whose experts do not all fit its memory: shared by its actors.
#pragma once

#include "actors/interfaces.hpp"
#include "model/disk_reader.hpp"
#include "model/expert_files.hpp"
#include "model/expert_store.hpp"
#include "policy/memory_budget.hpp"

#include <atomic>

namespace coel::actors {

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
  model::expert_store_ptr store; ///< read instead; null: none
  std::filesystem::path state_file; ///< of the predictor; empty: it is not kept
  model::disk_reader::make_engine engine = model::make_read_engine;
  supplier_actor supplier; ///< set before the first request, as is the next
  foreseer_actor foreseer;
  std::vector<expert_line> board; ///< [layers, experts]
  std::atomic<uint64_t> next_step{1};

  tiering(memory_needs n, policy::memory_plan p, model::expert_files f, size_t experts)
      : needs(n), plan(p), files(std::move(f)), board(experts) {}

  /// [layers, experts], in memory
  const std::vector<uint64_t>& resident_bytes() const {
    return store ? store->resident_bytes() : files.resident_bytes();
  }
};

} // namespace coel::actors
