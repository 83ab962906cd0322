// Memory that a model's device has to itself (a card's), shared by the model's actors: which routed
// experts lie there, and how often each is chosen. Gates and experts write, the keeper decides.
#pragma once

#include "actors/interfaces.hpp"
#include "model/graph.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace coel::actors {

class near_memory {
 public:
  /// Of each layer: routed experts, then slices of the shared one, which will have to be there.
  near_memory(tier_actor tier, uint32_t layers, uint32_t experts, uint32_t slices,
              uint64_t shared_bytes)
      : tier_(std::move(tier)), experts_(experts), slices_(slices),
        lines_(size_t{layers} * experts), shared_(size_t{layers} * slices), whole_(layers),
        shared_bytes_(shared_bytes), shared_due_(shared_bytes) {}

  const tier_actor& tier() const { return tier_; }
  size_t slots() const { return lines_.size(); }
  uint32_t experts() const { return experts_; } ///< routed, of a layer

  /// So many rows chose it here.
  void chosen(expert_key key, uint64_t rows) {
    auto& l = line_of(key);
    l.rows += rows;
    if (l.bytes > 0)
      l.rows_near += rows;
  }
  uint64_t rows(size_t slot) const { return lines_[slot].rows; }

  /// It lies there from now on (or no longer: empty), and this lends it.
  void place(expert_key key, const lease& what) {
    auto& l = line_of(key);
    std::lock_guard hold(lock_);
    l.held = what;
    l.bytes = what.weights ? what.weights->bytes : 0;
    whole_[index(key.layer)].reset();
  }
  void place_shared(expert_key key, const lease& what) {
    std::lock_guard hold(lock_);
    shared_[size_t{index(key.layer)} * slices_ + index(key.expert) - experts_] = what;
    whole_[index(key.layer)].reset();
  }
  /// Empty where it is not there.
  lease lend(expert_key key) const {
    const auto& l = lines_[slot(key)];
    if (l.bytes == 0)
      return {};
    std::lock_guard hold(lock_);
    return l.held;
  }
  /// The layer's experts, if all of them lie there; else nothing. Who keeps it keeps their memory.
  std::shared_ptr<const model::whole_experts> whole(layer_id layer) const {
    std::lock_guard hold(lock_);
    auto& known = whole_[index(layer)];
    if (!known)
      known = make_whole(index(layer));
    return known;
  }
  uint64_t bytes(size_t slot) const { return lines_[slot].bytes; }

  /// A part of a shared expert has come, which had so many bytes in the file.
  void shared_came(uint64_t bytes) {
    auto due = shared_due_.load();
    while (!shared_due_.compare_exchange_weak(due, due - std::min(due, bytes))) {
    }
  }
  void shared_left(uint64_t bytes) { shared_due_ += bytes; }
  /// Room that routed experts leave to these.
  uint64_t shared_due() const { return shared_due_; }
  uint64_t shared_bytes() const { return shared_bytes_; } ///< of all of them

  /// The memory refused an expert, or took one, when so much of the budget was free.
  void refused_with(uint64_t free) {
    if (free > unusable_)
      unusable_ = free;
  }
  void took_with(uint64_t free) {
    if (free < unusable_)
      unusable_ = free;
  }
  /// Of the budget, as far as is known: in pieces too small for an expert.
  uint64_t unusable() const { return unusable_; }

  /// It is in the node's other memory, from which it may come.
  void far(expert_key key, bool here) { line_of(key).far = here; }
  bool is_far(size_t slot) const { return lines_[slot].far; }

  /// Moves since the start, by outcome.
  std::atomic<uint64_t> brought{0}, given_up{0}, refused{0};
  std::atomic<uint64_t> whole_steps{0}; ///< that ran as one list

  struct totals {
    uint64_t experts = 0, bytes = 0, rows = 0, rows_near = 0;
  };
  totals sum() const {
    totals t;
    for (const auto& l : lines_) {
      t.experts += l.bytes > 0;
      t.bytes += l.bytes;
      t.rows += l.rows;
      t.rows_near += l.rows_near;
    }
    return t;
  }

 private:
  struct line {
    std::atomic<uint64_t> rows{0}, rows_near{0}, bytes{0};
    std::atomic<bool> far{false};
    lease held; ///< guarded by lock_
  };
  std::shared_ptr<const model::whole_experts> make_whole(uint32_t layer) const {
    auto made = std::make_shared<model::whole_experts>();
    auto routed = std::make_shared<compute::expert_table>();
    for (uint32_t e = 0; e < experts_; ++e)
      routed->push_back(lines_[size_t{layer} * experts_ + e].held.weights);
    for (uint32_t s = 0; s < slices_; ++s)
      made->shared.push_back(shared_[size_t{layer} * slices_ + s].weights);
    auto missing = [](const auto& w) { return !w; };
    if (std::any_of(routed->begin(), routed->end(), missing) ||
        std::any_of(made->shared.begin(), made->shared.end(), missing))
      return nullptr;
    made->routed = std::move(routed);
    return made;
  }
  size_t slot(expert_key key) const {
    return size_t{index(key.layer)} * experts_ + index(key.expert);
  }
  line& line_of(expert_key key) { return lines_[slot(key)]; }

  tier_actor tier_;
  uint32_t experts_, slices_;
  std::vector<line> lines_;   ///< [layers, experts]
  std::vector<lease> shared_; ///< [layers, slices], guarded by lock_
  mutable std::vector<std::shared_ptr<const model::whole_experts>> whole_; ///< the same
  uint64_t shared_bytes_;
  std::atomic<uint64_t> shared_due_;
  std::atomic<uint64_t> unusable_{0}; ///< the tier alone writes it
  mutable std::mutex lock_;
};
using near_memory_ptr = std::shared_ptr<near_memory>;

} // namespace coel::actors
