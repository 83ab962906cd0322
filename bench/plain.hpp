// Speed of one session in the plain loop: the kernels without the actors.
#pragma once

#include "bench/measure.hpp"
#include "common/result.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace coel::bench {

struct options {
  std::filesystem::path model;
  std::vector<uint32_t> prompt{512}; ///< -p
  uint32_t answer = 64;              ///< -n
  uint32_t threads = 0;              ///< -t
  uint32_t repetitions = 3;          ///< -r
  std::string kernels;
};

struct row {
  std::string test; ///< "prompt 512", "decode 64"
  spread tokens_per_s;
};

struct report {
  std::string device;
  std::string model;
  uint64_t weight_bytes = 0;
  uint64_t bytes_per_token = 0; ///< weights that decoding one token reads
  double load_seconds = 0;
  std::vector<row> rows;
};

result<report> run_plain(const options& o);

} // namespace coel::bench
