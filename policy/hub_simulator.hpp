// Sessions over a placement as events: devices and network cards are queues, so it shows what the
// cost model leaves out, waiting for each other. Which node runs what comes from the cost model,
// as in production. POLICY P10.
#pragma once

#include "policy/cost_model.hpp"

namespace coel::policy {

struct hub_load {
  uint32_t sessions = 1; ///< begin together, homed by turns over the homes of the traffic
  uint32_t prompt_tokens = 128;
  uint32_t answer_tokens = 128;
};

struct hub_times {
  double request_us = 0;     ///< mean over sessions
  double first_token_us = 0; ///< mean
  double tokens_per_s = 0;   ///< of all sessions
};

hub_times simulate_hub(const cost_model& costs, const expert_map& map, const home_traffic& traffic,
                       const hub_load& load);

} // namespace coel::policy
