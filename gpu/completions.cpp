#include "gpu/completions.hpp"

namespace coel::gpu {

namespace {

using steady = std::chrono::steady_clock;
using std::chrono::microseconds;

/// Looks without pause for as long as a decode step may take, then gives the processor away.
constexpr microseconds eager{500};
constexpr microseconds patient{20};

uint64_t us_since(steady::time_point start) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<microseconds>(steady::now() - start).count());
}

} // namespace

struct completions::state {
  card_ptr on;
  std::function<void(const error&)> lost;
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::deque<submitted> queue;
  bool ending = false;
  std::atomic<uint64_t> lists{0};
  std::atomic<uint64_t> busy_us{0};

  result<void> wait(const mark& m) const {
    auto start = steady::now();
    for (;;) {
      auto there = on->reached(m);
      if (!there)
        return there.err();
      if (*there)
        return {};
      if (steady::now() - start > eager)
        std::this_thread::sleep_for(patient);
    }
  }

  compute::completion_info finish(const submitted& s) {
    compute::completion_info info{s.outcome, 0, 0};
    if (s.end)
      if (auto ok = wait(*s.end); !ok && info.outcome.ok())
        info.outcome = ok;
    if (s.end && info.outcome.ok()) {
      auto us = on->elapsed_us(*s.begin, *s.end);
      if (us)
        info.busy_us = static_cast<uint64_t>(*us);
      else
        info.outcome = us.err();
    }
    if (!info.outcome.ok() && info.outcome.err().code == ec::device_lost)
      lost(info.outcome.err());
    uint64_t all = us_since(s.since);
    info.queued_us = all > info.busy_us ? all - info.busy_us : 0;
    return info;
  }

  void tell(submitted s) {
    auto info = finish(s);
    lists.fetch_add(1, std::memory_order_relaxed);
    busy_us.fetch_add(info.busy_us, std::memory_order_relaxed);
    s.keeps.reset();
    if (s.done)
      s.done(info);
  }
};

completions::completions(card_ptr on, std::function<void(const error&)> lost)
    : state_(std::make_shared<state>()) {
  state_->on = std::move(on);
  state_->lost = std::move(lost);
  thread_ = std::thread([s = state_] { run(s); });
}

completions::~completions() {
  {
    std::lock_guard lock(state_->mutex);
    state_->ending = true;
  }
  state_->arrived.notify_one();
  if (thread_.get_id() == std::this_thread::get_id())
    thread_.detach();
  else
    thread_.join();
}

void completions::run(const std::shared_ptr<state>& s) {
  for (;;) {
    std::unique_lock lock(s->mutex);
    s->arrived.wait(lock, [&] { return s->ending || !s->queue.empty(); });
    if (s->queue.empty())
      return;
    submitted next = std::move(s->queue.front());
    s->queue.pop_front();
    lock.unlock();
    s->tell(std::move(next));
  }
}

void completions::push(submitted s) {
  {
    std::lock_guard lock(state_->mutex);
    state_->queue.push_back(std::move(s));
  }
  state_->arrived.notify_one();
}

completion_totals completions::totals() const {
  std::lock_guard lock(state_->mutex);
  return {state_->lists.load(), state_->busy_us.load(),
          static_cast<uint32_t>(state_->queue.size())};
}

} // namespace coel::gpu
