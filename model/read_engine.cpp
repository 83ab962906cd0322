#include "model/read_engine.hpp"

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <liburing.h>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <vector>

namespace coel::model {

namespace {

/// Anybody submits, one thread waits for completions.
class uring_engine : public read_engine {
 public:
  explicit uring_engine(finished done) : done_(std::move(done)) {}

  result<void> start(uint32_t depth) {
    // One more, for the entry that ends the waiting thread.
    if (int code = io_uring_queue_init(depth + 1, &ring_, 0); code < 0)
      return {ec::unsupported, std::string("io_uring is refused: ") + std::strerror(-code)};
    opened_ = true;
    waiter_ = std::thread([this] { wait_for_completions(); });
    return {};
  }

  ~uring_engine() override {
    if (!opened_)
      return;
    submit([](io_uring_sqe* entry) {
      io_uring_prep_nop(entry);
      entry->flags |= IOSQE_IO_DRAIN; // after all reads
      io_uring_sqe_set_data64(entry, stop_tag);
    });
    waiter_.join();
    io_uring_queue_exit(&ring_);
  }

  const char* name() const override { return "io_uring"; }

  void read(const raw_read& what) override {
    submit([&](io_uring_sqe* entry) {
      io_uring_prep_read(entry, what.descriptor, what.into, static_cast<unsigned>(what.bytes),
                         what.offset);
      io_uring_sqe_set_data64(entry, what.tag);
    });
  }

 private:
  static constexpr uint64_t stop_tag = UINT64_MAX;

  /// The ring is larger than the depth, so there is an entry; what the kernel refuses for the
  /// moment (no memory, a signal) it takes later, and a read's own failure comes as its completion.
  template <class Fill>
  void submit(Fill fill) {
    std::lock_guard lock(mutex_);
    auto* entry = io_uring_get_sqe(&ring_);
    while (!entry) {
      std::this_thread::yield();
      entry = io_uring_get_sqe(&ring_);
    }
    fill(entry);
    while (io_uring_submit(&ring_) < 0)
      std::this_thread::yield();
  }

  void wait_for_completions() {
    for (;;) {
      io_uring_cqe* entry = nullptr;
      if (int code = io_uring_wait_cqe(&ring_, &entry); code < 0)
        continue; // a signal
      auto tag = io_uring_cqe_get_data64(entry);
      int64_t outcome = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      if (tag == stop_tag)
        return;
      done_(tag, outcome);
    }
  }

  finished done_;
  io_uring ring_{};
  bool opened_ = false;
  std::mutex mutex_; // of the submission side
  std::thread waiter_;
};

class thread_engine : public read_engine {
 public:
  thread_engine(uint32_t depth, finished done) : done_(std::move(done)) {
    for (uint32_t i = 0; i < depth; ++i)
      threads_.emplace_back([this] { work(); });
  }

  ~thread_engine() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_)
      t.join();
  }

  const char* name() const override { return "threads"; }

  void read(const raw_read& what) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(what);
    }
    changed_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (queue_.empty())
        return;
      auto next = queue_.front();
      queue_.pop_front();
      lock.unlock();
      auto got = ::pread(next.descriptor, next.into, next.bytes, static_cast<off_t>(next.offset));
      done_(next.tag, got < 0 ? -int64_t{errno} : int64_t{got});
      lock.lock();
    }
  }

  finished done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<raw_read> queue_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

} // namespace

result<read_engine_ptr> make_uring_engine(uint32_t depth, read_engine::finished done) {
  auto made = std::make_unique<uring_engine>(std::move(done));
  if (auto ok = made->start(depth); !ok)
    return ok.err();
  return read_engine_ptr(std::move(made));
}

read_engine_ptr make_thread_engine(uint32_t depth, read_engine::finished done) {
  return std::make_unique<thread_engine>(depth, std::move(done));
}

read_engine_ptr make_read_engine(uint32_t depth, read_engine::finished done) {
  if (auto ring = make_uring_engine(depth, done))
    return std::move(*ring);
  return make_thread_engine(depth, std::move(done));
}

} // namespace coel::model
