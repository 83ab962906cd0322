// When a plan of stages is left for another. Pure.
#pragma once

#include "policy/plan_upkeep.hpp"

namespace coel::policy {

/// A request by the stages that are followed and by the best plan without, both for the sessions
/// that decode now, in microseconds. Stages are taken for a clear lead (policy/planner), and left
/// when hardly any of it is left: sessions under way keep their way, so only experts move.
inline bool worth_leaving_stages(double stages_us, double planned_us) {
  return stages_us > (1 - worthwhile_gain) * planned_us;
}

} // namespace coel::policy
