// What may happen thousands of times a second and is said once in a while.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace coel {

class said_rarely {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit said_rarely(std::chrono::seconds quiet = std::chrono::seconds(60)) : quiet_(quiet) {}

  /// `total`: times since the start. To be said now: times since it was said last; nothing while it
  /// was said within `quiet`, or when there is nothing new.
  std::optional<uint64_t> due(uint64_t total, time_point now) {
    if (total == told_ || (at_ && now - *at_ < quiet_))
      return std::nullopt;
    auto since = total - told_;
    at_ = now;
    told_ = total;
    return since;
  }

 private:
  std::chrono::seconds quiet_;
  std::optional<time_point> at_;
  uint64_t told_ = 0;
};

} // namespace coel
