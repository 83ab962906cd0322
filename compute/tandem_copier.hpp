// The thread of a tandem on which experts are brought over: loading blocks.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace coel::compute {

class tandem_copier {
 public:
  tandem_copier() : state_(std::make_shared<state>()), thread_([s = state_] { s->run(); }) {}
  /// Does what was posted first, unless it is a job that ends it: then the thread goes on alone.
  ~tandem_copier() {
    {
      std::lock_guard lock(state_->mutex);
      state_->ending = true;
    }
    state_->posted.notify_one();
    if (thread_.get_id() == std::this_thread::get_id())
      thread_.detach();
    else
      thread_.join();
  }
  tandem_copier(const tandem_copier&) = delete;
  tandem_copier& operator=(const tandem_copier&) = delete;

  void post(std::function<void()> job) {
    {
      std::lock_guard lock(state_->mutex);
      state_->jobs.push_back(std::move(job));
    }
    state_->posted.notify_one();
  }

 private:
  struct state {
    std::mutex mutex;
    std::condition_variable posted;
    std::deque<std::function<void()>> jobs;
    bool ending = false;

    void run() {
      for (;;) {
        std::unique_lock lock(mutex);
        posted.wait(lock, [&] { return ending || !jobs.empty(); });
        if (jobs.empty())
          return;
        auto job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job();
      }
    }
  };
  std::shared_ptr<state> state_;
  std::thread thread_;
};

} // namespace coel::compute
