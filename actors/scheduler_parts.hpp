// For the sources of the scheduler only: who calls whom.
#pragma once

#include "actors/scheduler.hpp"

namespace coel::actors {

using scheduler_ptr = scheduler_actor::stateful_pointer<scheduler_state>;

// ---- scheduler: sessions

scheduler_state::running* find_session(scheduler_state& st, request_id id);
/// The session, if the share is of its present life.
scheduler_state::running* live_session(scheduler_state& st, const scheduler_step::share& share);
/// Sessions that want to leave do, as far as no step of theirs is under way; and those that waited
/// take their room.
void settle(scheduler_ptr self);

// ---- scheduler_steps: from rows to tokens

/// Begins steps and takes them up again as long as the memory is free.
void go_on(scheduler_ptr self);
/// All layers have run: routing is counted, and what wants logits gets them.
void rows_done(scheduler_ptr self, uint64_t number);
void end_step(scheduler_ptr self, uint64_t number);
/// Its sessions fail with the reason, the others go on.
void fail_step(scheduler_ptr self, uint64_t number, const error& why);

// ---- scheduler_stages: layers that run elsewhere

/// Asks the stages of new sessions for room; the session waits for their answers.
void open_stages(scheduler_ptr self, scheduler_state::running& s);
/// Gives that room back.
void close_stages(scheduler_ptr self, const scheduler_state::running& s);
/// The rows of the step that has the memory go to the first stage elsewhere.
void send_to_stages(scheduler_ptr self, uint64_t number);
void take_answer(scheduler_ptr self, const stage_answer& said);
void take_view(scheduler_ptr self, const route_view_ptr& view);
void give_up_late_runs(scheduler_ptr self);
/// Layers of the path that this node runs before any other: [0, end).
uint32_t layers_here(const scheduler_state& st, const scheduler_step& s);

} // namespace coel::actors
