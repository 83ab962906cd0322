#include "model/parallel_jobs.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

namespace coel::model {

namespace {

/// What the threads share.
struct pool {
  size_t count;
  const parallel_job& job;
  const std::function<void(uint64_t)>& progress;
  std::atomic<size_t> next{0};
  std::mutex lock{}; // of what follows
  uint64_t done = 0;
  std::optional<error> problem{};

  void work() {
    std::vector<std::byte> memory;
    for (size_t i; (i = next++) < count;) {
      auto bytes = job(i, memory);
      std::lock_guard hold(lock);
      if (!bytes && !problem)
        problem = bytes.err();
      if (problem)
        return;
      done += *bytes;
      if (progress)
        progress(done);
    }
  }
};

} // namespace

result<void> run_in_parallel(size_t count, uint32_t threads, const parallel_job& job,
                             const std::function<void(uint64_t)>& progress) {
  pool shared{count, job, progress};
  std::vector<std::thread> helpers;
  for (uint32_t n = threads ? threads : std::max(std::thread::hardware_concurrency(), 1u); n > 1;
       --n)
    helpers.emplace_back([&shared] { shared.work(); });
  shared.work();
  for (auto& h : helpers)
    h.join();
  if (shared.problem)
    return *shared.problem;
  return {};
}

} // namespace coel::model
