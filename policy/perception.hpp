// What this node tells of itself and when: the two status bytes that CoEL puts where RFC 3626 has a
// reserved field, and the times of HELLOs. docs/perception.md has the measurements behind the
// numbers.
#pragma once

#include "policy/neighbours.hpp"

#include <algorithm>
#include <random>
#include <span>

namespace coel::policy {

/// Status byte: bit 7 says that bits 0 to 6 hold a percentage; 0 says nothing, as a plain OLSR node
/// does. A byte without a meaning reads as nothing.
uint8_t to_status_byte(std::optional<uint8_t> percent);
std::optional<uint8_t> from_status_byte(uint8_t byte);

/// A kind of memory that the models of this node need.
struct memory_room {
  uint64_t free_bytes = 0;  ///< usable for experts
  uint64_t total_bytes = 0; ///< that experts may have at most
};

/// Percent left of compute (`busy`: fraction of the last second that the executor worked) and of
/// the fullest kind of memory. No kind, or one of size 0, leaves nothing free.
struct node_load {
  double compute_percent = 100;
  double memory_percent = 100;
};
node_load measure_load(double busy, std::span<const memory_room> rooms);

struct hello_options {
  moment interval{2'000'000};
  moment jitter{500'000};      ///< drawn anew for each, taken off the interval
  moment least_gap{500'000};   ///< between any two
  moment smoothing{1'000'000}; ///< time constant of the average over the load
  double change = 5;           ///< points from what was said last that are worth saying
  double urgent = 10;          ///< and that are worth a HELLO of their own
  uint32_t repeats = 1;        ///< HELLOs that say it again, as one may be lost
  uint32_t refresh = 10;       ///< HELLOs after which it is said anyway
};

/// When to send HELLOs, and whether the next carries the status. What is compared with the load is
/// what was said last, so small swings are never said and slow drifts are.
class hello_schedule {
 public:
  hello_schedule(hello_options options, uint32_t seed, moment now);

  void set_load(const node_load& load, moment now);

  /// Somebody new listens: the next HELLO carries the status.
  void newcomer() { owed_ = std::max(owed_, 1u); }

  /// When the next HELLO is due if the load stays as it is. Never less than least_gap after the
  /// last.
  moment next() const;

  /// Call when one is due and is sent now: what it carries.
  free_resources send(moment now);

 private:
  struct average {
    double value = 100;  // at since_
    double target = 100; // the load as it was set last
  };
  double decay(moment now) const;
  void move_to(moment now);
  double farthest() const;
  moment urgent_at(const average& x, uint8_t said) const;

  hello_options options_;
  std::mt19937 random_;
  average compute_;
  average memory_;
  moment since_{0};
  bool loaded_ = false;
  free_resources said_; // empty until something was
  uint32_t owed_ = 0;
  uint32_t silent_ = 0; // HELLOs since one carried the status
  moment last_{0};
  moment periodic_{0};
};

} // namespace coel::policy
