// How the supplier of a cluster's pool follows its updater (see updater_pool.hpp): it grows, gets
// smaller, and rests while nothing is to be read, when it has no memory but for its counts.
#pragma once

#include "actors/supplier.hpp"

namespace coel::actors {

using supplier_ptr = supplier_actor::stateful_pointer<supplier_state>;

/// Gets what it reads by: a ring, and routers for the predictor. Errors: those of
/// disk_reader::start and deep_routers::load; then it rests as before.
result<void> begin_reading(supplier_ptr self);

/// Follows the order; answers once it has no more than that. A promise that is still open is of an
/// order that this one replaces. `carry_out` is called when there is something to do.
caf::result<uint64_t> resize(supplier_ptr self, const pool_order& to,
                             void (*carry_out)(supplier_ptr));

/// Answers an order if it has come to it; to one for nothing, when it rests.
void settle_size(supplier_ptr self);

/// Rests if nobody wants anything of it, else looks again a little later.
void look_whether_to_rest(supplier_ptr self);

inline bool rests(const supplier_state& st) {
  return !st.reader;
}

/// To who asks one that rests: the experts have holders by then.
void refuse(supplier_ptr self, const expert_claim& what);

} // namespace coel::actors
