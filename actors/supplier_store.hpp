// How a supplier reads from a store of experts: straight into the memory that is then lent. An
// expert's first read since the node began is compared with its checksum, by a loader.
#pragma once

#include "actors/supplier.hpp"
#include "actors/supplier_packing.hpp"

namespace coel::actors {

/// Whether the supplier's model has one.
bool has_store(const supplier_state& st);

/// Begins the read of the job's expert; a failure comes as an answer too.
void read_stored(supplier_ptr self, uint64_t job);

/// It is there; `then` is called with the job once it may be used, or is known to be damaged.
void take_stored(supplier_ptr self, uint64_t job, model::staged_read got,
                 void (*then)(supplier_ptr, uint64_t job));

} // namespace coel::actors
