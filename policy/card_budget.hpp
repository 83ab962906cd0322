// What a budget of a card's memory means for a model: what every token uses and must be there, KV,
// steps, and what is left for routed experts; or why it is too little. A node takes these in turn;
// `coel model` says beforehand what that will be.
#pragma once

#include "common/card_needs.hpp"
#include "common/result.hpp"

namespace coel::policy {

/// Weights that every token uses.
uint64_t card_pinned(const card_needs& needs);

/// With less nothing can run there: those weights, KV of a short request, a step of one row.
uint64_t least_on_card(const card_needs& needs);

/// KV takes no more than a quarter of what is free unless it must, for one full context: what it
/// takes is not there for experts. `free`: beside what every token uses and steps.
uint32_t card_kv_pages(uint64_t free_bytes, uint64_t page_bytes, uint32_t wanted,
                       uint32_t pages_of_context);

/// Where not all experts fit, those that are copied over for one step need a place to go to.
/// `free`: of the budget, with nothing but experts to come.
uint64_t room_for_copies(uint64_t free_bytes, uint64_t routed_bytes, uint32_t layers);

struct card_plan {
  uint64_t pinned_bytes = 0;
  uint64_t kv_bytes = 0;
  uint32_t kv_pages = 0;
  uint64_t step_bytes = 0;
  uint64_t copies_bytes = 0;
  uint64_t expert_bytes = 0; ///< left for routed experts
  uint64_t experts = 0;      ///< routed ones that fit, of all layers
};

/// `kv_given`: its size was asked for, and is taken as it is. Errors: out_of_memory, with what
/// would do.
result<card_plan> plan_card(const card_needs& needs, uint64_t budget_bytes, bool kv_given = false);

} // namespace coel::policy
