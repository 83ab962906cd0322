// Turns operations into launches: pure arithmetic over addresses, so all of it runs without a card.
// Tables that kernels read (tasks, rows, tokens) are collected into one block that goes to the card
// with one copy before the first launch.
#pragma once

#include "compute/ops.hpp"
#include "gpu/card.hpp"
#include "gpu/tensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <vector>

namespace coel::gpu {

/// A stretch of the card's memory to give away from.
struct stretch {
  std::byte* base = nullptr;
  uint64_t size = 0;
};

/// Row of cosines and sines of a position (args.hpp: attend_row); null if there is no memory.
using angle_source = std::function<const float*(const compute::rope_params&, uint32_t position)>;

struct plan_context {
  stretch table;   ///< where the block of tables will lie
  stretch scratch; ///< for intermediate rows; operations use it one after another
  uint32_t multiprocessors = 1;
  angle_source angles;
  std::function<bool(const void*)> host_visible;
};

/// Rows that a run_chosen over these may have; 0: they are not alike.
uint32_t chosen_rows(const compute::expert_table& experts);

class planner {
 public:
  explicit planner(const plan_context& context) : context_(context) {}

  void plan(const compute::embed& op);
  void plan(const compute::rms_norm& op);
  void plan(const compute::project& op);
  void plan(const compute::attend& op);
  void plan(const compute::route& op);
  void plan(const compute::sigmoid& op);
  void plan(const compute::run_experts& op);
  void plan(const compute::gather& op);
  void plan(const compute::add& op);
  void plan(const compute::run_chosen& op);
  /// Errors: unsupported (what this device does not do), out_of_memory.
  result<void> plan(const compute::command_list& list);

  std::vector<step> take_steps() { return std::move(steps_); }
  const std::vector<std::byte>& tables() const { return tables_; }
  /// What the stretches must have held: if more than they did, the steps must not run; plan again.
  uint64_t table_bytes() const { return tables_.size(); }
  uint64_t scratch_bytes() const { return scratch_most_; }
  bool fits() const {
    return table_bytes() <= context_.table.size && scratch_bytes() <= context_.scratch.size;
  }

 private:
  template <class Args>
  void launch(kernel k, grid blocks, const Args& args) {
    static_assert(sizeof(Args) <= sizeof(step::args) && std::is_trivially_copyable_v<Args>);
    if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0)
      return;
    step& s = steps_.emplace_back();
    s.what = k;
    s.blocks = blocks;
    std::memcpy(s.args.data(), &args, sizeof(Args));
  }
  void copy(void* to, const void* from, uint64_t bytes);
  /// Dense rows of `cols` values to the first columns of other rows.
  void copy_part(const compute::rows_f32& to, const float* from, uint32_t cols);

  /// The values' address on the card.
  template <class T>
  const T* table(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    size_t at = (tables_.size() + 15) / 16 * 16;
    tables_.resize(at + values.size() * sizeof(T));
    if (!values.empty())
      std::memcpy(tables_.data() + at, values.data(), values.size() * sizeof(T));
    return reinterpret_cast<const T*>(context_.table.base + at);
  }

  template <class T = float>
  T* scratch(uint64_t count) {
    uint64_t at = scratch_;
    scratch_ += (count * sizeof(T) + 255) / 256 * 256;
    scratch_most_ = std::max(scratch_most_, scratch_);
    return reinterpret_cast<T*>(context_.scratch.base + at);
  }
  int8_rows int8_scratch(uint64_t rows, uint32_t cols);
  int8_rows quantised(const compute::rows_f32& in);

  /// All tasks of one type, of any number of rows: cut to tiles and launched by size.
  void multiply(dtype type, std::vector<matrix_task> tasks);
  void combine(const compute::run_experts& op, const float* slots);
  /// The same of tasks that the card makes, of up to `rows` rows each.
  void multiply_chosen(dtype type, const matrix_task* tasks, uint32_t weight_rows, uint32_t rows,
                       uint32_t groups);

  struct tile_bucket;
  void attend_bucket(const compute::attend& op, attend_args args, const tile_bucket& bucket);

  const plan_context& context_;
  std::vector<step> steps_;
  std::vector<std::byte> tables_;
  uint64_t scratch_ = 0;
  uint64_t scratch_most_ = 0;
  std::string refusal_; ///< the first thing that this device does not do
};

} // namespace coel::gpu
