// What a gate asks of who lends experts that are not held here (tiering.hpp), and what has come of
// it. A batch may claim more than once: what was lost with a peer is claimed behind the rest.
#pragma once

#include "actors/gate.hpp"
#include "actors/tiering.hpp"

#include <optional>

namespace coel::actors {

using gate_ptr = gate_actor::stateful_pointer<gate_state>;

/// Whether the batch may claim this expert. Slices of the shared expert are always held.
bool may_claim(const gate_state& st, expert_id e);

/// What having the expert here takes beyond its run; nothing where it cannot be claimed.
std::optional<double> read_price(const gate_state& st, expert_id e);

/// Adds tasks for these, in this order, and claims them. None at all is told too: a pool hears of
/// every layer's turn.
void claim(gate_ptr self, std::vector<expert_rows> experts);

/// Tasks before the first whose expert is still being read.
size_t lent_end(const gate_batch& b);
/// Every claim has its first answer, which comes at once.
bool claims_heard(const gate_batch& b);

/// Takes what was lent; null: it is of no claim of this batch.
gate_claim* take_lent(gate_state& st, const experts_lent& what);

/// Of a claim that has failed, what it has not got.
std::vector<expert_rows> give_up_rest(gate_batch& b, gate_claim& claim);

/// Their memory may be needed for what is still waited for.
void tell_ran(gate_ptr self);
/// Who lent may let go of what this batch had.
void end_claims(gate_ptr self);

} // namespace coel::actors
