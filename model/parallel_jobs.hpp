// Numbered jobs over several threads, for writers of large files.
#pragma once

#include "common/result.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace coel::model {

/// Does job `i` with memory that its thread keeps from job to job; returns the bytes it was about.
using parallel_job = std::function<result<uint64_t>(size_t i, std::vector<std::byte>& memory)>;

/// Jobs [0, count), this thread among `threads` (0: one a core). After a failure no further job
/// begins, and the first failure is returned. `progress` (may be empty) hears the bytes done so
/// far, one thread at a time.
result<void> run_in_parallel(size_t count, uint32_t threads, const parallel_job& job,
                             const std::function<void(uint64_t done)>& progress);

} // namespace coel::model
