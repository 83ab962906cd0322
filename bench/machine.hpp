// What this machine can do at most, measured in about two seconds: the bounds that measured speed
// is compared with.
#pragma once

#include "compute/device.hpp"

#include <vector>

namespace coel::bench {

struct machine_limits {
  uint32_t threads = 0;
  double read_gb_s = 0;         ///< every thread sums its own part of a large array
  double multiply_adds_g_s = 0; ///< 8-bit dot products in registers, best instruction there is
  std::string dot_instruction;  ///< "avx512-vnni", "avx2", "scalar"
};

/// Plain loops, no kernels of ours: as many threads as given, one a core where there are enough.
machine_limits measure_machine(uint32_t threads);

struct kernel_limits {
  double read_gb_s = 0;         ///< one row times a q4_0 matrix far larger than the caches
  double multiply_adds_g_s = 0; ///< 512 rows times a q4_0 matrix of an expert's size
  struct batch {
    uint32_t rows = 0;
    double read_gb_s = 0;
    double multiply_adds_g_s = 0;
  };
  std::vector<batch> batches; ///< a few rows times the large matrix, as sessions together are
};

/// The device's own kernels on its own threads. Errors: those of the device.
result<kernel_limits> measure_kernels(compute::device& on);

} // namespace coel::bench
