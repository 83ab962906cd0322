// The updater's word on where a session is best decoded (policy/session_homing).
#pragma once

#include "actors/updater_planning.hpp"

namespace coel::actors {

caf::result<home_choice> choose_home(updater_ptr self, const homing_question& ask);

} // namespace coel::actors
