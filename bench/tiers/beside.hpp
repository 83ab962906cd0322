// What reading from disk costs those who compute beside it: threads that do nothing but stream
// through memory, as decoding does, with and without direct reads at a given rate.
#pragma once

#include <cstdint>
#include <filesystem>

namespace coel::bench {

struct beside_options {
  std::filesystem::path file;
  uint32_t threads = 2;
  uint32_t turns = 5;                 ///< each with and without
  double seconds = 0.5;               ///< of each half of a turn
  uint64_t bytes = uint64_t{5} << 20; ///< of a read job: an expert
};

/// Prints a table; returns the exit code.
int measure_beside(const beside_options& o);

} // namespace coel::bench
