// Turns operations into phases. Each kernel set plans the heavy operations in its own way; the
// light ones are the same for all (plain_ops.cpp).
#pragma once

#include "compute/kept_layout.hpp"
#include "compute/ops.hpp"
#include "cpu/executor.hpp"
#include "cpu/rope.hpp"
#include "cpu/tensors.hpp"

#include <algorithm>
#include <string_view>

namespace coel::cpu {

/// Collects the phases of a command list. Operations run one after another, so each may use the
/// shared memory from its beginning.
class planner {
 public:
  planner(uint32_t threads, rope_tables& ropes) : ropes_(ropes), threads_(threads) {}

  uint32_t threads() const { return threads_; }
  rope_tables& ropes() { return ropes_; }

  void begin_operation() { offset_ = 0; }

  /// Offset of `bytes` more of tile_context::scratch for the operation, aligned to 64.
  size_t scratch(size_t bytes) {
    size_t at = offset_;
    offset_ += (bytes + 63) / 64 * 64;
    scratch_bytes_ = std::max(scratch_bytes_, offset_);
    return at;
  }

  /// Adds a phase of run(context, tile) for tile in [0, tiles); none for 0 tiles.
  template <class F>
  void add(size_t tiles, F&& run) {
    if (tiles != 0)
      phases_.push_back({static_cast<uint32_t>(tiles), std::forward<F>(run)});
  }

  /// Adds a phase of run(context, begin, end) over chunks of [0, count).
  template <class F>
  void add_chunks(size_t count, size_t chunk, F run) {
    chunk = std::max<size_t>(chunk, 1);
    add((count + chunk - 1) / chunk, [=](const tile_context& context, uint32_t tile) {
      size_t begin = tile * chunk;
      run(context, begin, std::min(begin + chunk, count));
    });
  }

  std::vector<phase> take_phases() { return std::move(phases_); }
  size_t scratch_bytes() const { return scratch_bytes_; }

 private:
  rope_tables& ropes_;
  std::vector<phase> phases_;
  size_t offset_ = 0;
  size_t scratch_bytes_ = 0;
  uint32_t threads_;
};

/// One instruction set's way with matrices and attention. Stateless; lives for ever.
class kernel_set {
 public:
  virtual ~kernel_set() = default;
  virtual std::string_view name() const = 0;

  /// A matrix for project and run_experts. Errors: unsupported, out_of_memory.
  virtual result<compute::weight_ptr> load(const compute::matrix_view& matrix,
                                           const budget_ptr& from) const = 0;

  /// Null: what load() makes is kept in no file.
  virtual const compute::kept_layout* layout() const { return nullptr; }

  /// Whether load() of this set made it.
  virtual bool owns(const compute::weight& w) const = 0;

  virtual void plan(planner& out, const compute::project& op) const = 0;
  virtual void plan(planner& out, const compute::attend& op) const = 0;
  virtual void plan(planner& out, const compute::run_experts& op) const = 0;
};

void plan(planner& out, const compute::embed& op);
void plan(planner& out, const compute::rms_norm& op);
void plan(planner& out, const compute::route& op);
void plan(planner& out, const compute::sigmoid& op);
void plan(planner& out, const compute::gather& op);
void plan(planner& out, const compute::add& op);

/// The plain scalar implementation: the truth that the others are tested against.
const kernel_set& reference_kernels();

} // namespace coel::cpu
