// Copies of routed experts in fewer bits, in memory of their own: what a step may run instead of
// waiting for the disk. Made and let go of by a copy maker, lent by a supplier. Thread-safe.
#pragma once

#include "actors/lower_choice.hpp"
#include "actors/served_model.hpp"
#include "model/lower_experts.hpp"
#include "model/weights.hpp"
#include "policy/memory_budget.hpp"

#include <atomic>
#include <mutex>
#include <vector>

namespace coel::actors {

class lower_copies {
 public:
  struct sum {
    uint64_t copies = 0, bytes = 0;
  };

  /// `room`: bytes of all copies together.
  lower_copies(model::lower_experts how, uint64_t room);

  const model::lower_experts& how() const { return how_; }
  uint64_t room() const { return room_; }
  size_t slots() const { return copies_.size(); } ///< layers * experts

  model::expert_ptr lend(size_t slot) const; ///< null: there is none
  void put(size_t slot, model::expert_ptr copy);
  void drop(size_t slot); ///< its memory is free when the last lease ends
  sum here() const;
  uint64_t bytes(size_t slot) const { return sizes_[slot]; } ///< 0: there is none

  /// A step wanted it and it was not in memory; and so many rows passed all layers.
  void missed(size_t slot) { ++misses_[slot]; }
  void passed(uint64_t tokens) { tokens_ += tokens; }
  uint64_t misses(size_t slot) const { return misses_[slot]; }
  uint64_t tokens() const { return tokens_; }

 private:
  const model::lower_experts how_;
  const uint64_t room_;
  mutable std::mutex lock_;
  std::vector<model::expert_ptr> copies_; // [layers, experts]
  std::vector<std::atomic<uint64_t>> sizes_, misses_;
  std::atomic<uint64_t> tokens_{0};
};

/// Takes the share out of the plan's memory for experts. Null, with a note, where a copy would not
/// be smaller by enough or none would fit.
std::shared_ptr<lower_copies> set_lower_aside(const served_model& m, policy::memory_plan& plan,
                                              const lower_choice& choice,
                                              std::vector<std::string>& notes);

} // namespace coel::actors
