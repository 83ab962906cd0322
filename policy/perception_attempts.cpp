#include "policy/perception_attempts.hpp"

#include <algorithm>

namespace coel::policy {

void attempt_limiter::refill(moment now) {
  std::chrono::duration<double> passed = std::max(now - filled_, moment(0));
  tokens_ = std::min(options_.burst, tokens_ + passed.count() * options_.per_second);
  filled_ = now;
}

bool attempt_limiter::admit(ipv4_address address, moment now) {
  refill(now);
  bool expected = expected_.contains(address);
  auto known = tried_.find(address);
  if (known != tried_.end() && now - known->second.last < known->second.gap)
    return false;
  if (!expected && tokens_ < 1)
    return false;
  if (!expected)
    tokens_ -= 1;
  auto& x = known != tried_.end() ? known->second : remember(address);
  x.last = now;
  x.gap = x.gap == moment(0) ? options_.first_gap : x.gap * 2;
  x.gap = std::min(x.gap, expected ? options_.first_gap * 8 : options_.longest_gap);
  return true;
}

attempt_limiter::record& attempt_limiter::remember(ipv4_address address) {
  if (tried_.size() >= options_.max_addresses)
    tried_.erase(std::min_element(tried_.begin(), tried_.end(), [](const auto& a, const auto& b) {
      return a.second.last < b.second.last;
    }));
  return tried_[address];
}

} // namespace coel::policy
