// How long tokens of a sequence that decodes alone take, and how much of that without waiting for
// experts: from first layer to first layer.
#pragma once

#include "actors/meter.hpp"
#include "common/ids.hpp"

#include <algorithm>

namespace coel::actors {

class token_clock {
 public:
  /// A layer step begins.
  void begins(layer_id layer, uint32_t rows, steady::time_point now) {
    if (rows != 1 || (index(layer) != 0 && index(layer) != next_))
      counts_ = false;
    if (index(layer) == 0) {
      if (counts_ && rows == 1 && now - ended_ < longest_pause)
        count(us_between(since_, now));
      counts_ = rows == 1;
      since_ = now;
      stalled_us_ = 0;
    }
    next_ = index(layer) + 1u;
  }
  void ends(uint64_t stall_us, steady::time_point now) {
    stalled_us_ += stall_us;
    ended_ = now;
  }
  double token_us() const { return token_us_; } ///< mean of the last ones; 0: none yet
  double compute_us() const { return compute_us_; }

 private:
  /// Between two requests a node does nothing, which is no token's time.
  static constexpr auto longest_pause = std::chrono::milliseconds(200);

  void count(uint64_t us) {
    auto mean = [](double& of, double x) {
      constexpr double share = 1. / 32;
      of = of > 0 ? of + (x - of) * share : x;
    };
    mean(token_us_, static_cast<double>(us));
    mean(compute_us_, static_cast<double>(us - std::min(us, stalled_us_)));
  }

  steady::time_point since_, ended_;
  uint64_t stalled_us_ = 0;
  uint32_t next_ = 0;
  bool counts_ = false;
  double token_us_ = 0, compute_us_ = 0;
};

} // namespace coel::actors
