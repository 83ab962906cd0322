// What a perception loop told, for tests to wait on.
#pragma once

#include "actors/perception_loop.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace coel::actors::test {

class ears {
 public:
  perception_callbacks callbacks() {
    perception_callbacks out;
    out.changed = [this](const policy::neighbour_event& x) {
      note([&] { changed_.push_back(x); });
    };
    out.candidate = [this](policy::ipv4_address x) { note([&] { candidates_.push_back(x); }); };
    out.trouble = [this](const error& x) { note([&] { troubles_.push_back(x); }); };
    out.turned_away = [this](uint64_t times) { note([&] { turned_away_.push_back(times); }); };
    return out;
  }

  /// False after a minute: longer than anything here takes, on any machine.
  bool wait_for(policy::neighbour_event::what kind, policy::ipv4_address address,
                size_t times = 1) {
    return wait([&] { return count_now(kind, address) >= times; });
  }
  bool wait_for_trouble() {
    return wait([&] { return !troubles_.empty(); });
  }

  size_t count(policy::neighbour_event::what kind, policy::ipv4_address address) {
    std::lock_guard lock(mutex_);
    return count_now(kind, address);
  }
  std::vector<policy::ipv4_address> candidates() {
    std::lock_guard lock(mutex_);
    return candidates_;
  }
  std::vector<error> troubles() {
    std::lock_guard lock(mutex_);
    return troubles_;
  }
  std::vector<uint64_t> turned_away() {
    std::lock_guard lock(mutex_);
    return turned_away_;
  }

 private:
  void note(const std::function<void()>& what) {
    std::lock_guard lock(mutex_);
    what();
    changed_since_.notify_all();
  }
  bool wait(const std::function<bool()>& done) {
    std::unique_lock lock(mutex_);
    return changed_since_.wait_for(lock, std::chrono::minutes(1), done);
  }
  size_t count_now(policy::neighbour_event::what kind, policy::ipv4_address address) const {
    size_t n = 0;
    for (const auto& x : changed_)
      n += x.kind == kind && x.address == address;
    return n;
  }

  std::mutex mutex_;
  std::condition_variable changed_since_;
  policy::neighbours::events changed_;
  std::vector<policy::ipv4_address> candidates_;
  std::vector<error> troubles_;
  std::vector<uint64_t> turned_away_;
};

/// Fast enough for a test: HELLOs every 500 ms.
inline perception_options brisk(uint32_t seed) {
  perception_options out;
  out.hello.interval = std::chrono::milliseconds(500);
  out.hello.jitter = std::chrono::milliseconds(100);
  out.hello.least_gap = std::chrono::milliseconds(100);
  out.table.hold = std::chrono::milliseconds(1500);
  out.seed = seed;
  return out;
}

} // namespace coel::actors::test
