// CPU implementations of compute::device: a plain scalar reference and vector kernels.
#pragma once

#include "compute/device.hpp"

#include <string>
#include <vector>

namespace coel::cpu {

struct device_options {
  uint32_t threads = 0;      ///< 0: one per core the process may use
  std::string kernels;       ///< "", "reference", "avx2", "avx512-vnni"; "" chooses the best usable
                             ///< (or what the environment variable COEL_CPU names)
  uint64_t budget_bytes = 0; ///< of weights, buffers and KV; 0: no limit
  bool pin_threads = true;   ///< one thread a core when threads == cores
};

/// Kernel sets that this machine can run, best first; "reference" is always last.
std::vector<std::string> usable_kernels();

/// Errors: bad_argument (unknown or unusable kernel set: the message lists the usable ones).
result<compute::device_ptr> make_device(const device_options& options = {});

} // namespace coel::cpu
