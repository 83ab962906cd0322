// A session whose home is another node (policy/session_homing): its answer is drawn there and told
// from here, so the application notices nothing. This node keeps all tokens; if the other home
// fails, the session goes on here.
#pragma once

#include "actors/session.hpp"

namespace coel::actors {

/// Its first tokens are known: asks whether another home suits them better, and moves there.
void consider_home(session_ptr self, const session_probe_ptr& probe);

/// The home says something.
void hear_home(session_ptr self, const app_answer& said);

/// It is not wanted there any longer, if it is there.
void leave_home(session_ptr self);

} // namespace coel::actors
