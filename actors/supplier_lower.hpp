// Where the user allows copies of fewer bits: which of a step's experts run as copies instead of
// being waited for (policy/miss_ways).
#pragma once

#include "actors/supplier.hpp"
#include "actors/supplier_packing.hpp"

namespace coel::actors {

/// For policy::expert_supply::begin: [claimed experts], or empty. Takes hold of these copies.
std::vector<uint8_t> choose_lower(supplier_state& st, const expert_claim& what);

/// What became of the claim's experts: what copies should be made of.
void count_missed(supplier_state& st, const expert_claim& what,
                  const std::vector<policy::expert_supply::found>& how);

/// Once, of a step whose order says so; null if it is over.
model::expert_ptr take_lower(supplier_state& st, uint64_t step, expert_key key);

/// Ends first with the supplier; it begins with what an earlier run has used.
void spawn_copy_maker(supplier_ptr self);

/// How many of the misses ran as copies, 0 to 1.
double answered_share(const tiering_status& counted);

} // namespace coel::actors
