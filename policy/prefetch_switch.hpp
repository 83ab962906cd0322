// Whether reading ahead pays in a layer: counts what it saved and what it cost, and switches it off
// and on. While it is off, what would have been read is judged all the same, on a few tokens.
#pragma once

#include <algorithm>
#include <cstdint>

namespace coel::policy {

class prefetch_switch {
 public:
  /// A trial is over after so many experts were predicted.
  static constexpr uint32_t trial = 128;
  /// It must save so much more than it costs to go on, and a little more to begin again.
  static constexpr double stay = 1.0, begin = 1.3;

  bool on() const { return on_; }
  /// One expert that was, or would have been, read ahead: used or not; `saved_us` of waiting, or
  /// `cost_us` that others waited longer.
  void judged(bool used, double saved_us, double cost_us) {
    ++seen_;
    ++total_seen_;
    total_used_ += used;
    saved_us_ += used ? saved_us : 0;
    cost_us_ += cost_us;
    if (seen_ < trial)
      return;
    on_ = saved_us_ > cost_us_ * (on_ ? stay : begin);
    switched_ += on_ != was_on_;
    was_on_ = on_;
    last_saved_us_ = saved_us_;
    last_cost_us_ = cost_us_;
    seen_ = 0;
    saved_us_ = cost_us_ = 0;
  }

  uint64_t switched() const { return switched_; }
  /// Of the last trial.
  double saved_us() const { return last_saved_us_; }
  double cost_us() const { return last_cost_us_; }
  double precision() const {
    return total_seen_ ? static_cast<double>(total_used_) / static_cast<double>(total_seen_) : 0;
  }

 private:
  bool on_ = true, was_on_ = true;
  uint32_t seen_ = 0;
  double saved_us_ = 0, cost_us_ = 0;
  double last_saved_us_ = 0, last_cost_us_ = 0;
  uint64_t total_seen_ = 0, total_used_ = 0, switched_ = 0;
};

} // namespace coel::policy
