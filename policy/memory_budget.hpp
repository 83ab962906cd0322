// What a budget of memory means for a model: what is pinned, what is left for experts, how fast
// that will be; or why it is too little, and what would do.
#pragma once

#include "common/memory_needs.hpp"
#include "common/result.hpp"

#include <cstdint>
#include <vector>

namespace coel::policy {

struct memory_plan {
  bool all_fit = false; ///< no expert ever has to be read again
  uint64_t pinned_bytes = 0;
  uint64_t kv_bytes = 0;
  uint32_t kv_pages = 0;
  uint64_t step_bytes = 0;
  uint64_t process_bytes = 0;
  uint32_t staging_slots = 0;
  uint64_t staging_bytes = 0;
  uint64_t transient_bytes = 0; ///< experts that run without being kept
  uint64_t cache_bytes = 0;
  uint64_t lower_bytes = 0; ///< for copies of fewer bits
  double cache_share = 0;   ///< of the routed experts
};

/// Errors: out_of_memory, with what the least is, and advice. `budget_bytes` 0: no limit.
result<memory_plan> plan_memory(const memory_needs& needs, uint64_t budget_bytes);

/// A plan with that share of the routed experts in memory, whatever the budget; 0 < share < 1.
memory_plan plan_share(const memory_needs& needs, double share);

/// So much of the memory for experts becomes memory for copies of fewer bits.
void set_aside(memory_plan& plan, uint64_t lower_bytes);

/// What a plan takes altogether.
uint64_t total_bytes(const memory_plan& plan);

/// The least budget that plan_memory accepts, and that with which nothing is read again.
uint64_t least_budget(const memory_needs& needs);
uint64_t full_budget(const memory_needs& needs);

/// Share of routed activations that find their expert in memory, by the share of experts there.
/// Points rise in both; between them it is linear.
struct hit_point {
  double share = 0;
  double hits = 0;
};
using hit_curve = std::vector<hit_point>;

/// For a model whose routing is not known: measured on synthetic routing of medium skew.
const hit_curve& usual_hit_curve();
/// The hits of the most popular experts: `per_token` is activations per token, [layers * experts].
hit_curve popularity_curve(std::vector<double> per_token);
double hits_at(const hit_curve& curve, double share);

struct speed_question {
  double compute_us = 0; ///< of a token with everything in memory
  double disk_bytes_per_s = 0;
  bool packed = false; ///< what is read needs no other layout (a store of experts)
  double answered = 0; ///< of misses, by copies of fewer bits: nothing is read for them
};
struct speed_answer {
  double hits = 1;
  double read_bytes_per_token = 0;
  double stall_us_per_token = 0;
  double tokens_per_s = 0;
};
/// Of one sequence that decodes. A part of the reading goes on while something computes, which it
/// slows a little: how much of it altogether costs no time was measured (docs/tiers.md).
speed_answer predict_speed(const memory_needs& needs, const memory_plan& plan,
                           const hit_curve& curve, const speed_question& speed);

} // namespace coel::policy
