#include "bench/tiers/disk.hpp"

#include "bench/tiers/job_file.hpp"
#include "model/disk_reader.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <random>

namespace coel::bench {

namespace {

struct row {
  double bytes_per_s = 0;
  double job_us = 0;
};

/// Keeps `jobs` random jobs going for the time.
result<row> measure(const disk_options& o, const model::direct_file_ptr& file,
                    const model::disk_reader::options& how, uint32_t jobs) {
  auto reader = model::disk_reader::start(how);
  if (!reader)
    return reader.err();
  std::mutex mutex;
  std::condition_variable changed;
  uint32_t open = 0;
  uint64_t done = 0, us = 0;
  error failure;
  std::mt19937_64 random(1);
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::unique_lock lock(mutex);
  while (failure.code == ec::unspecified && elapsed() < o.seconds) {
    changed.wait(lock, [&] { return open < jobs; });
    uint64_t at = random() % (file->size() - o.bytes + 1);
    ++open;
    lock.unlock();
    auto ticket = (*reader)->submit({{file, at, o.bytes}}, model::read_priority::demand,
                                    [&](result<model::staged_read> got) {
                                      std::lock_guard inner(mutex);
                                      --open;
                                      if (got) {
                                        ++done;
                                        us += got->took_us;
                                      } else {
                                        failure = got.err();
                                      }
                                      changed.notify_all();
                                    });
    lock.lock();
    if (!ticket)
      return ticket.err();
  }
  changed.wait(lock, [&] { return open == 0; });
  if (failure.code != ec::unspecified)
    return failure;
  return row{static_cast<double>(done * o.bytes) / elapsed(),
             done ? static_cast<double>(us) / static_cast<double>(done) : 0};
}

} // namespace

int measure_disk(const disk_options& o) {
  auto file = open_for_jobs(o.file, o.bytes);
  if (!file) {
    std::fprintf(stderr, "coel-bench-tiers: %s\n", file.err().message.c_str());
    return 1;
  }
  std::printf("%s, jobs of %.1f MiB, %s\n\n| engine | read | in flight | jobs | MB/s | ms a job |\n"
              "| --- | --- | --- | --- | --- | --- |\n",
              o.file.c_str(), double(o.bytes) / (1 << 20),
              (*file)->is_direct() ? "direct" : "through the page cache");
  struct engine {
    const char* name;
    model::disk_reader::make_engine make;
  };
  for (const auto& e :
       {engine{"best here", model::make_read_engine}, engine{"threads", model::make_thread_engine}})
    for (uint64_t chunk : {uint64_t{256} << 10, uint64_t{1} << 20, uint64_t{4} << 20})
      for (uint32_t depth : {1u, 2u, 4u, 8u}) {
        model::disk_reader::options how;
        how.slot_bytes = o.bytes + 8192;
        how.slots = 4;
        how.limits.chunk_bytes = chunk;
        how.limits.in_flight = depth;
        how.engine = e.make;
        for (uint32_t jobs : {1u, 3u}) {
          auto got = measure(o, *file, how, jobs);
          if (!got) {
            std::fprintf(stderr, "coel-bench-tiers: %s\n", got.err().message.c_str());
            return 1;
          }
          std::printf("| %s | %u KiB | %u | %u | %.0f | %.2f |\n", e.name,
                      static_cast<uint32_t>(chunk >> 10), depth, jobs, got->bytes_per_s / 1e6,
                      got->job_us / 1e3);
          std::fflush(stdout);
        }
      }
  return 0;
}

} // namespace coel::bench
