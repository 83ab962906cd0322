#include "bench/tiers/beside.hpp"

#include "bench/tiers/job_file.hpp"
#include "cpu/memory.hpp"
#include "model/disk_reader.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

namespace coel::bench {

namespace {

using steady = std::chrono::steady_clock;

constexpr uint64_t weights_bytes = uint64_t{1} << 30; ///< of each thread: far more than any cache
constexpr uint64_t stretch_bytes = uint64_t{64} << 10;
constexpr uint32_t jobs_at_once = 3;

double seconds_since(steady::time_point t) {
  return std::chrono::duration<double>(steady::now() - t).count();
}

struct alignas(64) counter {
  std::atomic<uint64_t> value{0};
};

uint64_t sum_of(const std::byte* at) {
  const auto* words = reinterpret_cast<const uint64_t*>(at);
  uint64_t sum = 0;
  for (size_t i = 0; i < stretch_bytes / sizeof(uint64_t); ++i)
    sum += words[i];
  return sum;
}

/// Threads that stream through memory of their own until it ends.
class streams {
 public:
  static result<std::unique_ptr<streams>> start(uint32_t threads) {
    auto made = std::make_unique<streams>();
    for (uint32_t i = 0; i < threads; ++i) {
      auto memory = cpu::block::make(weights_bytes, "weights to stream through");
      if (!memory)
        return memory.err();
      std::memset(memory->data(), 1, weights_bytes);
      made->memory_.push_back(std::move(*memory));
    }
    made->read_ = std::vector<counter>(threads);
    for (uint32_t i = 0; i < threads; ++i)
      made->threads_.emplace_back([all = made.get(), i] { all->run(i); });
    return made;
  }
  ~streams() {
    ending_ = true;
    for (auto& t : threads_)
      t.join();
  }

  uint64_t bytes() const {
    uint64_t all = 0;
    for (const auto& c : read_)
      all += c.value.load(std::memory_order_relaxed);
    return all;
  }

 private:
  void run(uint32_t i) {
    uint64_t sum = 0;
    for (uint64_t at = 0; !ending_; at = (at + stretch_bytes) % weights_bytes) {
      sum += sum_of(memory_[i].data() + at);
      read_[i].value.fetch_add(stretch_bytes, std::memory_order_relaxed);
    }
    sums_ += sum; // so that it is computed
  }

  std::vector<cpu::block> memory_;
  std::vector<counter> read_;
  std::atomic<bool> ending_{false};
  std::atomic<uint64_t> sums_{0};
  std::vector<std::thread> threads_;
};

/// Random jobs for the time, not more than `rate` of bytes per second. Bytes that were read.
result<uint64_t> read_for(model::disk_reader& reader, const model::direct_file_ptr& file,
                          const beside_options& o, double rate, std::mt19937_64& random) {
  std::atomic<uint64_t> done{0};
  std::atomic<uint32_t> open{0};
  std::atomic<bool> failed{false};
  auto begin = steady::now();
  result<void> outcome;
  for (uint64_t asked = 0; seconds_since(begin) < o.seconds && outcome && !failed;) {
    if (open == jobs_at_once || static_cast<double>(asked) > rate * seconds_since(begin)) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      continue;
    }
    ++open;
    auto ticket = reader.submit({{file, random() % (file->size() - o.bytes + 1), o.bytes}},
                                model::read_priority::demand, [&](result<model::staged_read> got) {
                                  done += got ? got->read : 0;
                                  failed = failed || !got;
                                  --open;
                                });
    if (!ticket) {
      --open;
      outcome = ticket.err();
    }
    asked += o.bytes;
  }
  while (open > 0)
    std::this_thread::yield();
  if (failed)
    return {ec::io, file->path().string() + ": a read failed"};
  if (!outcome)
    return outcome.err();
  return done.load();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct turn {
  double alone = 0, beside = 0, read = 0; ///< bytes per second
};

result<turn> take_turn(const streams& work, model::disk_reader& reader,
                       const model::direct_file_ptr& file, const beside_options& o, double rate,
                       std::mt19937_64& random) {
  turn t;
  auto begin = steady::now();
  auto before = work.bytes();
  std::this_thread::sleep_for(std::chrono::duration<double>(o.seconds));
  t.alone = static_cast<double>(work.bytes() - before) / seconds_since(begin);
  begin = steady::now();
  before = work.bytes();
  auto read = read_for(reader, file, o, rate, random);
  if (!read)
    return read.err();
  auto took = seconds_since(begin);
  t.beside = static_cast<double>(work.bytes() - before) / took;
  t.read = static_cast<double>(*read) / took;
  return t;
}

result<void> print_rows(const model::direct_file_ptr& file, const beside_options& o) {
  model::disk_reader::options how;
  how.slot_bytes = o.bytes + 2 * model::direct_file::alignment;
  how.slots = jobs_at_once;
  how.limits.chunk_bytes = uint64_t{2} << 20;
  auto reader = model::disk_reader::start(how);
  if (!reader)
    return reader.err();
  auto work = streams::start(o.threads);
  if (!work)
    return work.err();
  std::mt19937_64 random(1);
  for (double rate : {0.25e9, 0.5e9, 1e9, 2e9, 1e12}) {
    std::vector<double> alone, beside, read, ratio;
    for (uint32_t i = 0; i < o.turns; ++i) {
      auto t = take_turn(**work, **reader, file, o, rate, random);
      if (!t)
        return t.err();
      alone.push_back(t->alone / 1e9);
      beside.push_back(t->beside / 1e9);
      read.push_back(t->read / 1e6);
      ratio.push_back(t->beside / t->alone);
    }
    auto [least, most] = std::minmax_element(ratio.begin(), ratio.end());
    std::printf("| %.0f | %.1f | %.1f | %.3f | %.3f to %.3f |\n", median(read), median(alone),
                median(beside), median(ratio), *least, *most);
    std::fflush(stdout);
  }
  return {};
}

} // namespace

int measure_beside(const beside_options& o) {
  auto file = open_for_jobs(o.file, o.bytes);
  if (!file) {
    std::fprintf(stderr, "coel-bench-tiers: %s\n", file.err().message.c_str());
    return 1;
  }
  std::printf("%u threads stream through memory, %u turns of %.1f s without and with reads\n\n"
              "| read MB/s | GB/s alone | beside reads | median ratio of a turn | of all turns |\n"
              "| --- | --- | --- | --- | --- |\n",
              o.threads, o.turns, o.seconds);
  auto ok = print_rows(*file, o);
  if (!ok)
    std::fprintf(stderr, "coel-bench-tiers: %s\n", ok.err().message.c_str());
  return ok ? 0 : 1;
}

} // namespace coel::bench
