#include "apps/coel/forecast.hpp"

#include "cpu/device.hpp"
#include "model/describe.hpp"
#include "model/disk_reader.hpp"
#include "model/expert_files.hpp"
#include "model/expert_store.hpp"
#include "model/manifest_io.hpp"
#include "model/memory_needs.hpp"
#include "model/random_model.hpp"
#include "policy/expert_predictor.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <random>
#include <sys/mman.h>
#include <thread>

namespace coel::app {

namespace {

using clock = std::chrono::steady_clock;

/// Decoding reaches about this part of the rate at which memory can only be read: norms, attention
/// and the meetings of threads take the rest.
constexpr double usual_efficiency = 0.8;
constexpr uint32_t most_probes = 48, probes_at_once = 4;
constexpr auto longest_probe = std::chrono::milliseconds(800);

double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

/// What a node would read for an expert.
struct expert_reads {
  uint64_t largest = 0;
  std::function<result<std::vector<model::file_piece>>(expert_key)> pieces;
};

/// Random experts, several at once.
result<double> disk_rate(const model::source_ptr& from, const expert_reads& what) {
  model::disk_reader::options how;
  how.slot_bytes = what.largest;
  how.slots = probes_at_once;
  auto reader = model::disk_reader::start(how);
  if (!reader)
    return reader.err();
  std::mutex mutex;
  std::condition_variable changed;
  uint32_t open = 0;
  uint64_t bytes = 0;
  result<void> outcome;
  std::mt19937_64 random(1);
  const auto& c = from->config();
  auto start = clock::now();
  std::unique_lock lock(mutex);
  for (uint32_t i = 0; i < most_probes && clock::now() - start < longest_probe && outcome; ++i) {
    changed.wait(lock, [&] { return open < probes_at_once; });
    expert_key key{static_cast<layer_id>(random() % c.layers),
                   static_cast<expert_id>(random() % c.experts)};
    auto pieces = what.pieces(key);
    if (!pieces)
      return pieces.err();
    ++open;
    lock.unlock();
    auto ticket = (*reader)->submit(std::move(*pieces), model::read_priority::demand,
                                    [&](result<model::staged_read> got) {
                                      std::lock_guard hold(mutex);
                                      --open;
                                      if (got)
                                        bytes += got->read;
                                      else
                                        outcome = got.err();
                                      changed.notify_all();
                                    });
    lock.lock();
    if (!ticket) {
      --open;
      outcome = ticket.err();
    }
  }
  changed.wait(lock, [&] { return open == 0; });
  if (!outcome)
    return outcome.err();
  return static_cast<double>(bytes) / seconds_since(start);
}

/// Memory on huge pages, as weights lie: on small ones it reads slower by a third.
class huge_words {
 public:
  explicit huge_words(size_t words) : bytes_(words * sizeof(uint64_t)) {
    at_ = std::aligned_alloc(huge_page, (bytes_ + huge_page - 1) / huge_page * huge_page);
    if (!at_)
      throw std::bad_alloc();
    ::madvise(at_, bytes_, MADV_HUGEPAGE);
    std::memset(at_, 1, bytes_);
  }
  huge_words(huge_words&& other) noexcept
      : bytes_(other.bytes_), at_(std::exchange(other.at_, nullptr)) {}
  ~huge_words() { std::free(at_); }
  uint64_t operator[](size_t i) const { return static_cast<const uint64_t*>(at_)[i]; }

 private:
  static constexpr size_t huge_page = size_t{2} << 20;
  size_t bytes_;
  void* at_ = nullptr;
};

/// Adds up memory that no cache holds.
double memory_rate(uint32_t threads) {
  constexpr size_t words = (size_t{128} << 20) / sizeof(uint64_t); // of each thread
  std::vector<huge_words> parts;
  for (uint32_t i = 0; i < threads; ++i)
    parts.emplace_back(words);
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int round = 0; round < 5; ++round) { // what disturbs only makes it slower
    std::vector<std::thread> running;
    running.reserve(threads);
    auto start = clock::now();
    for (const auto& part : parts)
      running.emplace_back([&] {
        uint64_t sums[8] = {};
        for (size_t i = 0; i < words; i += 8)
          for (size_t k = 0; k < 8; ++k)
            sums[k] += part[i + k];
        for (auto s : sums)
          sink += s;
      });
    for (auto& r : running)
      r.join();
    auto all = static_cast<double>(threads) * words * sizeof(uint64_t);
    best = std::max(best, all / seconds_since(start));
  }
  return best;
}

/// Beside the model, if it is of it and of this machine's layout.
model::expert_store_ptr store_of(const std::filesystem::path& file,
                                 const model::source_ptr& source) {
  auto path = model::usual_store_path(file);
  std::error_code ignored;
  auto device = cpu::make_device({1, "", 0, false});
  if (!std::filesystem::exists(path, ignored) || !device)
    return nullptr;
  const auto* layout = compute::layout_of(**device);
  if (!layout)
    return nullptr;
  auto store = model::expert_store::open(path, source, *layout);
  return store ? *store : nullptr;
}

/// Of a store where there is one, else of the model's files.
result<expert_reads> reads_of(const model::source_ptr& from, const model::expert_store_ptr& store) {
  if (store)
    return expert_reads{store->largest(), [store](expert_key key) {
                          return result<std::vector<model::file_piece>>({store->piece(key)});
                        }};
  auto opened = model::expert_files::open(from, model::direct_file::writes::refused);
  if (!opened)
    return opened.err();
  auto files = std::make_shared<model::expert_files>(std::move(*opened));
  return expert_reads{files->largest_read(),
                      [files](expert_key key) { return files->pieces(key); }};
}

/// How a node on this machine saw the model routed; none: it has not run here with too little room.
std::optional<policy::hit_curve> routing_seen(const model::model_config& c) {
  auto path = model::default_cache_folder() / "predictors" / (c.name + ".predictor");
  auto bytes = model::read_whole(path, uint64_t{1} << 30);
  if (!bytes)
    return {};
  auto learnt = policy::expert_predictor::load(*bytes, {c.layers, c.experts, c.top_k});
  if (!learnt)
    return {};
  std::vector<double> uses;
  for (uint32_t l = 0; l < c.layers; ++l)
    for (float f : learnt->frequency(static_cast<layer_id>(l)))
      uses.push_back(f);
  return policy::popularity_curve(std::move(uses));
}

[[gnu::format(printf, 2, 3)]] void line(std::string& to, const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  to += text;
  to += '\n';
}

double giga(double bytes) {
  return bytes / 1e9;
}

} // namespace

result<forecast> forecast_of(const std::filesystem::path& file, const model::source_ptr& from,
                             uint64_t budget_bytes, uint32_t threads) {
  auto needs = model::memory_needs_of(*from, {});
  if (!needs)
    return needs.err();
  auto store = store_of(file, from);
  if (store && budget_bytes < policy::full_budget(*needs))
    store->tell(*needs);
  auto plan = policy::plan_memory(*needs, budget_bytes);
  if (!plan)
    return plan.err();
  forecast f;
  f.plan = *plan;
  f.budget_bytes = budget_bytes;
  f.memory_bytes_per_s = memory_rate(std::max(threads, 1u));
  f.compute_us = static_cast<double>(model::needs_of(*from).bytes_per_token) /
                 (f.memory_bytes_per_s * usual_efficiency) * 1e6;
  if (!f.plan.all_fit) {
    auto reads = reads_of(from, store);
    if (!reads)
      return reads.err();
    auto rate = disk_rate(from, *reads);
    if (!rate)
      return rate.err();
    f.disk_bytes_per_s = *rate;
    f.from_store = store != nullptr;
  }
  auto seen = routing_seen(from->config());
  f.routing_seen = seen.has_value();
  f.speed = policy::predict_speed(*needs, f.plan, seen ? *seen : policy::usual_hit_curve(),
                                  {f.compute_us, f.disk_bytes_per_s, f.from_store});
  return f;
}

std::string text_of(const forecast& f) {
  std::string t;
  double all = 1e6 / f.compute_us;
  if (f.plan.all_fit) {
    line(t, "all of it fits %.2f GB: about %.1f tokens/s, as memory reads %.1f GB/s here",
         giga(static_cast<double>(f.budget_bytes)), all, giga(f.memory_bytes_per_s));
    return t;
  }
  line(t, "with %.2f GB: %.2f GB pinned, %.2f GB for experts, %.0f %% of them",
       giga(static_cast<double>(f.budget_bytes)),
       giga(static_cast<double>(policy::total_bytes(f.plan) - f.plan.cache_bytes)),
       giga(static_cast<double>(f.plan.cache_bytes)), 100 * f.plan.cache_share);
  line(t, "         about %.0f %% of uses find theirs if routing is as %s: a token",
       100 * f.speed.hits, f.routing_seen ? "it was here before" : "uneven as usual");
  line(t, "         reads %.1f MB%s at %.2f GB/s (measured) and waits %.1f ms",
       f.speed.read_bytes_per_token / 1e6, f.from_store ? " of the store" : "",
       giga(f.disk_bytes_per_s), f.speed.stall_us_per_token / 1e3);
  line(t, "         about %.1f tokens/s, of %.1f with everything in memory", f.speed.tokens_per_s,
       all);
  return t;
}

} // namespace coel::app
