// Whether a command list can run at all: shapes, ranges, and things made by the device that is to
// run it. The same for every device.
#pragma once

#include "compute/device.hpp"

namespace coel::compute {

/// What a device made itself.
class ownership {
 public:
  virtual ~ownership() = default;
  virtual bool projects(const weight& w) const = 0; ///< loaded with weight_use::project
  virtual bool looks_up(const weight& w) const = 0; ///< loaded with weight_use::lookup
  virtual bool caches(const kv_cache& cache) const = 0;
  virtual bool runs_chosen() const { return false; }
};

/// Errors: bad_argument, naming the operation and what is wrong with it. Pointers are only checked
/// for null: that they point to memory of the right size is the caller's promise.
result<void> check(const command_list& list, const ownership& made);

/// Errors: unsupported (no shape for its type, or too large), bad_argument (no data).
result<void> check(const matrix_view& matrix);

/// Bytes of all pages. Errors: bad_argument, out_of_memory (more than 64 bits).
result<uint64_t> kv_bytes(const kv_shape& shape);

} // namespace coel::compute
