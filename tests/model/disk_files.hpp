// Files for the readers' tests, in a folder of their own, and engines that fail on purpose.
#pragma once

#include "model/disk_reader.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <functional>
#include <mutex>
#include <unistd.h>

namespace coel::model::test {

inline char byte_at(uint64_t i) {
  return static_cast<char>((i * 2654435761u) >> 13);
}

struct disk_folder {
  std::filesystem::path path;

  /// On the disk that the build lies on: /tmp may be memory.
  explicit disk_folder(const std::filesystem::path& under = COEL_BINARY_DIR) {
    auto name = (under / "disk-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~disk_folder() { std::filesystem::remove_all(path); }

  std::filesystem::path write(const std::string& name, uint64_t bytes) const {
    std::string content(bytes, '\0');
    for (uint64_t i = 0; i < bytes; ++i)
      content[i] = byte_at(i);
    std::ofstream(path / name, std::ios::binary) << content;
    return path / name;
  }
};

inline bool is_content(std::span<const std::byte> got, uint64_t offset) {
  for (uint64_t i = 0; i < got.size(); ++i)
    if (static_cast<char>(got[i]) != byte_at(offset + i))
      return false;
  return true;
}

/// Waits for a job's outcome.
class outcome_box {
 public:
  disk_reader::done catcher() {
    return [this](result<staged_read> got) {
      std::lock_guard lock(mutex_);
      got_.emplace(std::move(got));
      ++times_;
      changed_.notify_all();
    };
  }
  result<staged_read>& wait() {
    std::unique_lock lock(mutex_);
    BOOST_REQUIRE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return !!got_; }));
    return *got_;
  }
  bool empty() {
    std::lock_guard lock(mutex_);
    return !got_;
  }
  int times() {
    std::lock_guard lock(mutex_);
    return times_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<result<staged_read>> got_;
  int times_ = 0;
};

/// Reads for real and then says what `tell` makes of it.
class lying_engine : public read_engine {
 public:
  using tell = std::function<int64_t(int64_t truth)>;
  lying_engine(uint32_t depth, finished done, tell what)
      : real_(make_thread_engine(depth, [done = std::move(done), what](uint64_t tag, int64_t got) {
          done(tag, what(got));
        })) {}
  const char* name() const override { return "lying"; }
  void read(const raw_read& what) override { real_->read(what); }

 private:
  read_engine_ptr real_;
};

/// Reads nothing before it is told to.
class held_engine : public read_engine {
 public:
  struct gate {
    std::mutex mutex;
    bool open = false;
    std::vector<raw_read> seen, held;
    std::function<void(const raw_read&)> go;
    void let_go() {
      std::vector<raw_read> now;
      {
        std::lock_guard lock(mutex);
        open = true;
        now = std::exchange(held, {});
      }
      for (const auto& r : now)
        go(r);
    }
    std::vector<raw_read> asked() {
      std::lock_guard lock(mutex);
      return seen;
    }
  };

  held_engine(uint32_t depth, finished done, std::shared_ptr<gate> g)
      : gate_(std::move(g)), real_(make_thread_engine(depth, std::move(done))) {
    gate_->go = [this](const raw_read& r) { real_->read(r); };
  }
  const char* name() const override { return "held"; }
  void read(const raw_read& what) override {
    std::lock_guard lock(gate_->mutex);
    gate_->seen.push_back(what);
    if (gate_->open)
      real_->read(what);
    else
      gate_->held.push_back(what);
  }

 private:
  std::shared_ptr<gate> gate_;
  read_engine_ptr real_;
};

} // namespace coel::model::test
