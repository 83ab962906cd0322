// How pieces of files get into memory: io_uring, or threads that wait where the kernel refuses it.
#pragma once

#include "common/result.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace coel::model {

/// One read; offset, bytes and memory are aligned as direct reads ask for.
struct raw_read {
  int descriptor = -1;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::byte* into = nullptr;
  uint64_t tag = 0; ///< comes back with the result
};

class read_engine {
 public:
  /// Bytes read, or minus the system's error number. On a thread of the engine.
  using finished = std::function<void(uint64_t tag, int64_t result)>;

  /// Waits for the reads under way.
  virtual ~read_engine() = default;
  virtual const char* name() const = 0;
  /// Thread-safe and does not wait. The caller keeps the number under way to the depth.
  virtual void read(const raw_read& what) = 0;
};
using read_engine_ptr = std::unique_ptr<read_engine>;

/// Errors: unsupported, with the kernel's reason.
result<read_engine_ptr> make_uring_engine(uint32_t depth, read_engine::finished done);

/// As many threads as reads at once.
read_engine_ptr make_thread_engine(uint32_t depth, read_engine::finished done);

/// The first where it works, else the second.
read_engine_ptr make_read_engine(uint32_t depth, read_engine::finished done);

} // namespace coel::model
