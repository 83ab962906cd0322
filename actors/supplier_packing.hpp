// How a supplier brings what has been read into the device's layout: matrix by matrix, by loaders
// with threads of their own, so that several of them share one expert.
#pragma once

#include "actors/supplier.hpp"

namespace coel::actors {

using supplier_ptr = supplier_actor::stateful_pointer<supplier_state>;

void spawn_loaders(supplier_ptr self);

/// One of a job's matrices; `then` is called with the job, which has the outcome.
void pack(supplier_ptr self, supplier_state::pending_piece what,
          void (*then)(supplier_ptr, uint64_t job));

/// The expert of a job whose pieces are all there. Its supplier is told when nobody has its memory
/// any more. Errors: those of expert_store::adopt.
result<model::expert_ptr> assemble(supplier_ptr self, const supplier_state::job& from);

} // namespace coel::actors
