// The updater's part in planning (see planning.hpp): asks the placer, reserves memory, publishes,
// follows.
#pragma once

#include "actors/updater.hpp"

namespace coel::actors {

using updater_ptr = updater_actor::stateful_pointer<updater_state>;

/// The newest plan that anybody up tells of is this node's from now on.
void follow_newest(const updater_state& st, placed_model& m);

/// One look at every model: whether a plan is due, how far a reservation is, what this home's
/// tokens should take. `follow` is called when a plan of this node's is to be followed.
void look_after_plans(updater_ptr self, const std::function<void()>& follow);

/// The neighbour with that key speaks of memory.
void hear_reservation(updater_ptr self, const std::string& key, const reservation_message& m);

/// A home without a link cannot use what it was promised.
void forget_promises(updater_state& st, const std::string& key);

planning_status planning_now(const updater_state& st, const placed_model& m);

} // namespace coel::actors
