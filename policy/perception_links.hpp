// What traffic tells of a link: round trip and goodput, without probes while there is traffic.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

namespace coel::policy {

using link_time = std::chrono::microseconds; ///< a duration, or since a fixed moment

/// A reply as its asker sees it. The replier says how long the work took and waited.
struct round_trip {
  link_time asked{0};
  link_time answered{0};
  link_time queued{0};
  link_time worked{0};
  uint64_t bytes = 0; ///< of question and answer
};

/// What of it was the link: without work, queue and the time that the bytes took. Empty where the
/// replier claims more time than has passed.
std::optional<link_time> link_share(const round_trip& x, double bytes_per_s);

/// Smoothed round trip and its deviation with the gains of RFC 6298 (1/8 and 1/4), and the least of
/// a sliding window: what the link takes when nothing is in its way.
class rtt_estimator {
 public:
  static constexpr link_time unmeasured{20'000}; ///< assumed of a link without a sample
  static constexpr link_time window{10'000'000};

  void add(link_time sample, link_time now);

  bool measured() const { return count_ > 0; }
  link_time smoothed() const;
  link_time deviation() const;
  link_time least(link_time now) const; ///< smoothed() if the window holds no sample

  /// Smoothed and four deviations, at least `floor`: later than that, something is wrong.
  link_time patience(link_time floor) const;

 private:
  struct sample {
    link_time when;
    link_time value;
  };
  uint64_t count_ = 0;
  double smoothed_us_ = 0;
  double deviation_us_ = 0;
  std::deque<sample> rising_; // candidates for the least: later ones are larger
};

/// Goodput from transfers that are large enough to say something of it.
class goodput_estimator {
 public:
  static constexpr double unmeasured = 1'250'000; ///< bytes/s: 10 Mbit/s
  static constexpr uint64_t least_bytes = 32 * 1024;
  static constexpr link_time stale{60'000'000}; ///< a plan wants something newer
  static constexpr link_time probe_gap{30'000'000};

  /// `busy`: from the first byte's arrival to the last's. False if it says nothing.
  bool add(uint64_t bytes, link_time busy, link_time now);

  bool measured() const { return count_ > 0; }
  double bytes_per_s() const { return measured() ? smoothed_ : unmeasured; }

  /// Whether a train of 256 KiB should be sent to find out, for a plan that needs it. True counts
  /// as sent.
  bool take_probe(link_time now);

 private:
  uint64_t count_ = 0;
  std::array<double, 5> recent_{}; // what is in the way makes samples too small, nothing too large
  double smoothed_ = 0;
  link_time sampled_{0};
  std::optional<link_time> probed_;
};

} // namespace coel::policy
