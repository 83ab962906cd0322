#include "bench/machine.hpp"

#include "bench/dot_loop.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <thread>
#include <vector>

namespace coel::bench {

namespace {

using clock = std::chrono::steady_clock;

constexpr size_t array_bytes = size_t{512} << 20; // of all threads: far beyond any cache
constexpr double part_s = 0.5;                    // time for each of the measurements

/// Cores that this process may use, in rising order.
std::vector<int> usable_cores() {
  cpu_set_t set;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int c = 0; c < CPU_SETSIZE; ++c)
      if (CPU_ISSET(c, &set))
        cores.push_back(c);
  return cores;
}

void pin(std::thread& thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
}

/// Seconds until `work(thread)` has returned on every thread.
double timed(uint32_t threads, const std::function<void(uint32_t)>& work) {
  auto cores = usable_cores();
  auto start = clock::now();
  std::vector<std::thread> running;
  for (uint32_t t = 0; t < threads; ++t) {
    running.emplace_back(work, t);
    if (threads <= cores.size())
      pin(running.back(), cores[t]);
  }
  for (auto& r : running)
    r.join();
  return std::chrono::duration<double>(clock::now() - start).count();
}

/// The best of what fits in part_s, at least three: everything that disturbs makes it slower.
double best_rate(uint32_t threads, double amount, const std::function<void(uint32_t)>& work) {
  double best = 0, spent = 0;
  for (int run = 0; run < 3 || spent < part_s; ++run) {
    double s = timed(threads, work);
    spent += s;
    best = std::max(best, amount / s);
  }
  return best;
}

/// Touches every cache line: that brings it in whole, and no arithmetic is in the way. Several
/// streams with a prefetch ahead of each, as one alone leaves the memory idle.
uint64_t touch(const uint64_t* from, size_t count) {
  constexpr size_t streams = 4, line = 8, ahead = 2048 / sizeof(uint64_t);
  uint64_t sums[streams] = {};
  size_t each = count / streams;
  for (size_t i = 0; i < each; i += line)
    for (size_t s = 0; s < streams; ++s) {
      const uint64_t* at = from + s * each + i;
      __builtin_prefetch(at + ahead);
      sums[s] += *at;
    }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

struct freed {
  void operator()(uint64_t* p) const { std::free(p); }
};
using array = std::unique_ptr<uint64_t[], freed>;

/// In large pages where the system has them, as otherwise page walks are measured too.
array make_array(size_t count) {
  constexpr size_t large_page = size_t{2} << 20;
  size_t bytes = (count * sizeof(uint64_t) + large_page - 1) / large_page * large_page;
  array memory(static_cast<uint64_t*>(std::aligned_alloc(large_page, bytes)));
  if (!memory)
    throw std::bad_alloc();
  ::madvise(memory.get(), bytes, MADV_HUGEPAGE);
  std::fill_n(memory.get(), count, 1);
  return memory;
}

double read_rate(uint32_t threads) {
  size_t each = array_bytes / threads / sizeof(uint64_t);
  std::vector<array> parts(threads);
  std::vector<uint64_t> results(threads);
  timed(threads, [&](uint32_t t) { parts[t] = make_array(each); }); // touched by its own thread
  return best_rate(threads, static_cast<double>(each * threads * sizeof(uint64_t)),
                   [&](uint32_t t) { results[t] += touch(parts[t].get(), each); });
}

} // namespace

machine_limits measure_machine(uint32_t threads) {
  machine_limits m;
  m.threads = threads;
  m.read_gb_s = read_rate(threads) / 1e9;
  auto loop = best_dot_loop();
  constexpr uint64_t rounds = 4'000'000;
  std::vector<int32_t> results(threads);
  m.multiply_adds_g_s =
      best_rate(threads, static_cast<double>(rounds * loop.multiply_adds * threads),
                [&](uint32_t t) { results[t] += loop.run(rounds, static_cast<int8_t>(t)); }) /
      1e9;
  m.dot_instruction = loop.name;
  return m;
}

} // namespace coel::bench
