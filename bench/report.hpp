// Results as a table for people and as JSON for programs.
#pragma once

#include "bench/machine.hpp"
#include "bench/measure.hpp"

#include <string>

namespace coel::bench {

struct model_report {
  std::string model, path, device;
  uint32_t threads = 0;
  uint64_t parameters = 0;
  uint64_t file_bytes = 0;
  uint64_t resident_bytes = 0; ///< on the device: weights, KV, buffers
  double load_s = 0;
  token_cost cost;
  test_results results;
};

struct machine_report {
  machine_limits machine;
  std::string device;
  kernel_limits kernels;
};

std::string as_table(const test_results& r);
std::string as_json(const test_results& r);
std::string as_table(const model_report& r);
std::string as_json(const model_report& r);
std::string as_table(const machine_report& r);
std::string as_json(const machine_report& r);

} // namespace coel::bench
