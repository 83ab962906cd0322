// A link's part in layers that run elsewhere: rooms asked for and given, rows and answers passed
// on.
#pragma once

#include "actors/link.hpp"

namespace coel::actors {

// For this node. Errors of an open: io (not connected), what the neighbour says, deadline; of the
// others, which are true once sent: io, busy (the connection is full).
caf::result<bool> ask_for_stage(link_ptr self, const stage_open& ask);
caf::result<bool> pass_run(link_ptr self, const stage_run& run);
caf::result<bool> pass_answer(link_ptr self, const stage_answer& said);
void pass_close(link_ptr self, const stage_close& what);

// Frames of the neighbour.
void stage_granted(link_ptr self, const net::stage_granted_frame& frame);
void serve_stage(link_ptr self, const net::stage_open_frame& frame);
void close_stage(link_ptr self, const stage_close& what);
void take_run(link_ptr self, stage_run run);
void take_answer(link_ptr self, stage_answer said);

} // namespace coel::actors
