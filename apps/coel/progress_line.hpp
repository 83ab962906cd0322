// A line that is redrawn on a terminal, at most ten times a second; silent elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <unistd.h>

namespace coel::app {

class progress_line {
 public:
  void show(uint64_t done, uint64_t total) {
    auto now = clock::now();
    if (!terminal_ || (done < total && now - last_ < std::chrono::milliseconds(100)))
      return;
    last_ = now;
    std::fprintf(stderr, "\r%3.0f %%  %.0f of %.0f MB",
                 100. * static_cast<double>(done) / static_cast<double>(total),
                 static_cast<double>(done) / 1e6, static_cast<double>(total) / 1e6);
    if (done == total)
      std::fputs("\n", stderr);
  }

 private:
  using clock = std::chrono::steady_clock;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  clock::time_point last_{};
};

} // namespace coel::app
