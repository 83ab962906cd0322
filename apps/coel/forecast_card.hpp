// What budgets of a card's and of other memory mean for a model, before it is loaded: what lies on
// the card, what beside it, what is read from disk. No speed: that has to be measured on the card.
#pragma once

#include "model/source.hpp"
#include "policy/card_budget.hpp"
#include "policy/memory_budget.hpp"

#include <nlohmann/json_fwd.hpp>

namespace coel::app {

struct card_forecast {
  uint64_t card_budget_bytes = 0, memory_budget_bytes = 0;
  policy::card_plan card;
  policy::memory_plan memory; ///< of what does not lie on the card
  uint64_t experts = 0;       ///< routed ones, of all layers
  uint64_t in_memory = 0;     ///< of those that are not on the card
  uint64_t in_memory_bytes = 0;
  uint64_t on_disk = 0;        ///< the rest: read when it is needed
  uint32_t tokens_of_page = 0; ///< of KV
};

/// As a node would take it, one by one. Errors: out_of_memory (with what would do), those of
/// source::matrix.
result<card_forecast> card_forecast_of(const model::source& from, uint64_t card_bytes,
                                       uint64_t memory_bytes);

/// For people; lines of `coel model`.
std::string text_of(const card_forecast& f);
nlohmann::json as_json(const card_forecast& f);

} // namespace coel::app
