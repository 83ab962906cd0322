#include "cpu/executor.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <pthread.h>
#include <sched.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace coel::cpu {

namespace {

using clock = std::chrono::steady_clock;

uint64_t us_between(clock::time_point from, clock::time_point to) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(to - from).count());
}

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

struct alignas(64) counter {
  std::atomic<uint32_t> value{0};
};

/// First tile of a worker's share of a phase.
uint32_t share_begin(uint32_t tiles, uint32_t worker, uint32_t workers) {
  return static_cast<uint32_t>(uint64_t{tiles} * worker / workers);
}

struct job {
  program work;
  executor::done call;
  clock::time_point submitted;
  clock::time_point started;
  uint32_t workers;
  std::vector<counter> taken;       // of each phase and worker's share
  std::vector<counter> finished;    // of each phase
  std::atomic<uint32_t> current{0}; // the phase that runs

  job(program w, executor::done c, uint32_t n)
      : work(std::move(w)), call(std::move(c)), submitted(clock::now()), workers(n),
        taken(work.phases.size() * n), finished(work.phases.size()) {}

  uint32_t run_tiles(uint32_t phase, const tile_context& context);
};
using job_ptr = std::shared_ptr<job>;

/// Runs tiles of the worker's own share, then of the others': how many. Neighbouring tiles on one
/// worker keep its stream through the weights whole, worth a tenth of the speed.
uint32_t job::run_tiles(uint32_t p, const tile_context& context) {
  const phase& now = work.phases[p];
  uint32_t ran = 0;
  for (uint32_t i = 0; i < workers; ++i) {
    uint32_t owner = (context.worker + i) % workers;
    uint32_t begin = share_begin(now.tiles, owner, workers);
    uint32_t count = share_begin(now.tiles, owner + 1, workers) - begin;
    auto& next = taken[size_t{p} * workers + owner].value;
    for (uint32_t t; (t = next.fetch_add(1, std::memory_order_relaxed)) < count; ++ran)
      now.run(context, begin + t);
  }
  return ran;
}

/// Cores of the process's affinity mask.
std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set))
        cores.push_back(i);
  return cores;
}

void pin_to(std::thread& thread, int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set,
                         &set); // a wish: failure costs speed only
}

/// Waits until `value` is no longer `old`. Spins first, as a sleep and a wake cost more than a
/// phase takes; half-way it starts to offer its core to whoever else wants it.
void await_change(const std::atomic<uint32_t>& value, uint32_t old,
                  std::chrono::microseconds spin) {
  auto begin = clock::now();
  for (uint32_t turn = 1; value.load(std::memory_order_acquire) == old; ++turn) {
    pause();
    if (turn % 32 != 0)
      continue;
    auto waited = clock::now() - begin;
    if (waited > spin)
      value.wait(old, std::memory_order_acquire);
    else if (waited > spin / 2)
      std::this_thread::yield();
  }
}

} // namespace

uint32_t usable_cores() {
  return std::max<uint32_t>(1, static_cast<uint32_t>(allowed_cores().size()));
}

/// Shared by the workers and the executor, so that it outlives an executor that ends in a `done`.
struct executor::state {
  const std::chrono::microseconds spin;
  std::atomic<uint32_t> generation{0}; // rises when a job starts, or the end comes
  mutable std::mutex mutex;            // guards the rest
  std::deque<job_ptr> queue;
  job_ptr running;
  bool stopping = false;
  executor_status totals;
  std::mutex calls; // held during a `done`: they come one at a time, in order

  explicit state(std::chrono::microseconds s) : spin(s) {}

  void start_next();
  job_ptr next(uint32_t& seen);
  void run(const job_ptr& j, uint32_t worker);
  void finish(const job_ptr& j);
};

/// Takes the queue's head, if there is one. The mutex is held.
void executor::state::start_next() {
  running = nullptr;
  if (!queue.empty()) {
    running = std::move(queue.front());
    queue.pop_front();
    running->started = clock::now();
  }
  if (running || stopping)
    generation.fetch_add(1, std::memory_order_release);
}

/// The job that runs, once there is one this worker has not seen; null at the end.
job_ptr executor::state::next(uint32_t& seen) {
  while (true) {
    await_change(generation, seen, spin);
    std::lock_guard lock(mutex);
    seen = generation.load(std::memory_order_relaxed);
    if (running)
      return running;
    if (stopping)
      return nullptr;
  }
}

void executor::state::run(const job_ptr& j, uint32_t worker) {
  auto count = static_cast<uint32_t>(j->work.phases.size());
  tile_context context{worker, j->work.scratch};
  for (uint32_t p = j->current.load(std::memory_order_acquire); p < count;
       p = j->current.load(std::memory_order_acquire)) {
    uint32_t mine = j->run_tiles(p, context);
    auto& finished = j->finished[p].value;
    if (mine &&
        finished.fetch_add(mine, std::memory_order_acq_rel) + mine == j->work.phases[p].tiles) {
      j->current.store(p + 1, std::memory_order_release);
      j->current.notify_all();
      if (p + 1 == count)
        finish(j);
    } else {
      await_change(j->current, p, spin);
    }
  }
}

void executor::state::finish(const job_ptr& j) {
  auto end = clock::now();
  j->work.keeps = nullptr;
  run_times times{us_between(j->submitted, j->started), us_between(j->started, end)};
  std::lock_guard call_lock(calls);
  {
    std::lock_guard lock(mutex);
    ++totals.programs_run;
    totals.busy_us += times.busy_us;
    start_next();
  }
  generation.notify_all();
  j->call(times);
  j->call = nullptr; // what it captured ends here, not with the last worker that looks at the job
}

executor::executor(uint32_t threads, bool pin) {
  auto cores = allowed_cores();
  bool crowded = threads > cores.size();
  state_ = std::make_shared<state>(std::chrono::microseconds(crowded ? 2 : 60));
  for (uint32_t i = 0; i < threads; ++i) {
    workers_.emplace_back([s = state_, i] {
      uint32_t seen = 0;
      while (auto j = s->next(seen))
        s->run(j, i);
    });
    // A pool that leaves cores free may have neighbours that do the same: two of one thread each
    // would both sit on the first core.
    if (pin && threads == cores.size())
      pin_to(workers_.back(), cores[i]);
  }
}

executor::~executor() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    if (!state_->running)
      state_->generation.fetch_add(1, std::memory_order_release);
  }
  state_->generation.notify_all();
  auto self = std::this_thread::get_id();
  bool inside = std::any_of(workers_.begin(), workers_.end(),
                            [&](const std::thread& w) { return w.get_id() == self; });
  for (auto& worker : workers_)
    inside ? worker.detach() : worker.join();
}

void executor::submit(program work, done call) {
  if (work.phases.empty())
    work.phases.push_back({1, [](const tile_context&, uint32_t) {}});
  auto j = std::make_shared<job>(std::move(work), std::move(call),
                                 static_cast<uint32_t>(workers_.size()));
  {
    std::lock_guard lock(state_->mutex);
    state_->queue.push_back(std::move(j));
    if (!state_->running)
      state_->start_next();
  }
  state_->generation.notify_all();
}

executor_status executor::status() const {
  std::lock_guard lock(state_->mutex);
  executor_status now = state_->totals;
  now.waiting = static_cast<uint32_t>(state_->queue.size());
  return now;
}

} // namespace coel::cpu
