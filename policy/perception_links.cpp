#include "policy/perception_links.hpp"

#include <algorithm>
#include <cmath>

namespace coel::policy {

namespace {

/// Deques of one link stay small whatever the rate: samples closer than this count as one.
constexpr link_time grain{20'000};

link_time rounded(double us) {
  return link_time(std::llround(us));
}

} // namespace

std::optional<link_time> link_share(const round_trip& x, double bytes_per_s) {
  double wire_us = bytes_per_s > 0 ? static_cast<double>(x.bytes) / bytes_per_s * 1e6 : 0.0;
  double left_us = static_cast<double>((x.answered - x.asked).count()) -
                   static_cast<double>(x.queued.count()) - static_cast<double>(x.worked.count());
  if (left_us < 0 || x.queued.count() < 0 || x.worked.count() < 0)
    return {};
  return rounded(std::max(left_us - wire_us, 0.0));
}

void rtt_estimator::add(link_time value, link_time now) {
  auto us = static_cast<double>(std::max(value, link_time(0)).count());
  if (count_++ == 0) {
    smoothed_us_ = us;
    deviation_us_ = us / 2;
  } else {
    deviation_us_ += (std::abs(us - smoothed_us_) - deviation_us_) / 4;
    smoothed_us_ += (us - smoothed_us_) / 8;
  }
  while (!rising_.empty() && rising_.back().value >= value)
    rising_.pop_back();
  if (rising_.empty() || now - rising_.back().when >= grain)
    rising_.push_back({now, value});
  while (now - rising_.front().when > window)
    rising_.pop_front();
}

link_time rtt_estimator::smoothed() const {
  return measured() ? rounded(smoothed_us_) : unmeasured;
}

link_time rtt_estimator::deviation() const {
  return measured() ? rounded(deviation_us_) : unmeasured / 2;
}

link_time rtt_estimator::least(link_time now) const {
  for (const auto& x : rising_)
    if (now - x.when <= window)
      return x.value;
  return smoothed();
}

link_time rtt_estimator::patience(link_time floor) const {
  return std::max(floor, smoothed() + 4 * deviation());
}

bool goodput_estimator::add(uint64_t bytes, link_time busy, link_time now) {
  if (bytes < least_bytes || busy.count() <= 0)
    return false;
  recent_[count_ % recent_.size()] =
      static_cast<double>(bytes) * 1e6 / static_cast<double>(busy.count());
  double best = *std::max_element(recent_.begin(), recent_.end());
  smoothed_ = count_++ == 0 ? best : smoothed_ + (best - smoothed_) / 4;
  sampled_ = now;
  return true;
}

bool goodput_estimator::take_probe(link_time now) {
  bool fresh = measured() && now - sampled_ < stale;
  if (fresh || (probed_ && now - *probed_ < probe_gap))
    return false;
  probed_ = now;
  return true;
}

} // namespace coel::policy
