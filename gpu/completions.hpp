// The thread that tells a list's owner when the card is through with it, in order of submission.
// CUDA's own host functions may not call CUDA, and what follows a list is the next list, so the
// thread looks at marks: at first without pause, since a wake-up would cost as much as a layer.
#pragma once

#include "compute/device.hpp"
#include "gpu/card.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace coel::gpu {

/// A list that the card has, or that failed before it got there.
struct submitted {
  result<void> outcome;
  mark* begin = nullptr; ///< null: the card has nothing of it
  mark* end = nullptr;
  compute::completion done;
  std::shared_ptr<void> keeps; ///< until it is through: the list, its tables, outgrown scratch
  std::chrono::steady_clock::time_point since;
};

struct completion_totals {
  uint64_t lists = 0;
  uint64_t busy_us = 0;
  uint32_t waiting = 0;
};

class completions {
 public:
  /// `lost` hears of the first failure of the card.
  completions(card_ptr on, std::function<void(const error&)> lost);
  /// Waits for all, unless it is their thread that ends it: then that goes on alone.
  ~completions();

  void push(submitted s);
  completion_totals totals() const;

 private:
  struct state;
  static void run(const std::shared_ptr<state>& s);

  std::shared_ptr<state> state_;
  std::thread thread_;
};

} // namespace coel::gpu
