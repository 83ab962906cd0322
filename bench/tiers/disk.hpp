// What a disk gives: random reads of an expert's size, by reads in flight and engine.
#pragma once

#include <cstdint>
#include <string>

namespace coel::bench {

struct disk_options {
  std::string file;
  uint64_t bytes = 5 << 20;
  double seconds = 2;
};

/// Prints a table; an exit code.
int measure_disk(const disk_options& o);

} // namespace coel::bench
