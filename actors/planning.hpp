// One model's plan as the updater makes, gets and follows it. Nothing here sends a message.
//
// One home plans for a model: the one of the least key (policy/plan_upkeep). Its plan goes with the
// record of everybody who follows it; whoever hears of a newer one follows that. So all come to the
// same, and a plan outlives its planner. Where nodes have come or gone since it was made, everybody
// mends it by the same rule (policy/assignment) until there is a new one.
#pragma once

#include "actors/messages.hpp"
#include "actors/meter.hpp"
#include "policy/plan_upkeep.hpp"
#include "policy/reservation.hpp"

#include <optional>

namespace coel::actors {

struct planning_options {
  policy::plan_shape shape = policy::plan_shape::automatic;
  double wire_value_bytes = 2;            ///< of an activation between nodes
  std::chrono::milliseconds settle{1000}; ///< nodes come together before a plan is made
  std::chrono::milliseconds every{20000}; ///< at the earliest, for what is not urgent
};

struct planning {
  plan_record followed;                 ///< epoch 0: none
  policy::plan_basis seen;              ///< at the last look
  steady::time_point looked{};          ///< when that was
  steady::time_point changed{};         ///< when its nodes did
  policy::plan_basis planned;           ///< what the last plan made here was made from
  steady::time_point tried{};           ///< when that was
  size_t sampled = 0;                   ///< homes whose tokens that plan was scored on
  bool computing = false;               ///< the placer is asked
  std::optional<plan_record> candidate; ///< waits for its memory
  std::optional<policy::region_reservation> memory;
  std::map<std::string, uint64_t> reserved; ///< what `memory` asks for, by key
  uint32_t failures = 0;                    ///< to get it, in a row
  std::string note;
  std::optional<policy::token_cost> price; ///< of this home's tokens with what is held now
  uint64_t priced_tokens = 0;
  steady::time_point priced_at{};
  policy::expert_map priced_map; ///< what was held then
  std::vector<policy::stage> priced_stages;
  bool pricing = false;
};

} // namespace coel::actors
