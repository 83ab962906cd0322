// What serving a model takes of memory, from its headers alone.
#pragma once

#include "common/memory_needs.hpp"
#include "model/source.hpp"

namespace coel::model {

struct serving_shape {
  uint32_t rows = 512;       ///< of a step
  uint32_t logits = 64;      ///< rows of logits of a step
  uint32_t page_tokens = 32; ///< of KV
  uint64_t kv_bytes = 0;     ///< 0: one full context, more while that is cheap
};

/// Upper bounds for any device; `process_bytes` is a guess. Tables that are read in place count as
/// if they were loaded. Errors: those of source::matrix.
result<memory_needs> memory_needs_of(const source& from, const serving_shape& how);

/// Of a matrix in a device's layout: rows may be padded, and layouts grow by up to 3 %.
uint64_t resident_bound(const compute::matrix_view& v);

/// Memory that this process could have: what the machine has free, or its control group leaves, and
/// what it has already. 0 where the system does not say.
uint64_t memory_within_reach();

/// What this process has in memory now, but for pages of files.
uint64_t resident_memory();

} // namespace coel::model
