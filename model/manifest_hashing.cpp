#include "model/manifest_hashing.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace coel::model {

namespace {

/// What the threads share: each takes the next chunk in order of the files, so that a disk reads
/// nearly in order.
class hashing {
 public:
  explicit hashing(const hashing_job& job) : job_(job) {
    for (const auto& f : job.files) {
      auto size = static_cast<uint64_t>(f.about.st_size);
      auto chunks = size / job.chunk_bytes + (size % job.chunk_bytes != 0);
      out.push_back({f.name, size, std::vector<sha256>(chunks)});
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + chunks);
    }
  }

  /// `more` is asked after each chunk.
  void work(const std::function<bool()>& more) {
    std::vector<std::byte> buffer(job_.chunk_bytes);
    while (!stop_) {
      auto chunk = next_++;
      if (ends_.empty() || chunk >= ends_.back())
        return;
      if (auto ok = hash(chunk, buffer); !ok)
        return fail(ok.err());
      if (!more())
        return fail({ec::cancelled, "hashing the model was cancelled"});
    }
  }

  uint64_t done() const { return done_; }
  const error& failure() const { return failure_; }
  std::vector<manifest_file> out;

 private:
  result<void> hash(uint64_t chunk, std::span<std::byte> buffer) {
    auto i =
        static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), chunk) - ends_.begin());
    auto within = chunk - (i == 0 ? 0 : ends_[i - 1]);
    auto offset = within * job_.chunk_bytes;
    auto bytes = buffer.first(std::min<uint64_t>(buffer.size(), out[i].size - offset));
    if (auto ok = job_.files[i].handle.read_at(offset, bytes); !ok)
      return ok;
    out[i].chunks[within] = sha256_of(bytes);
    done_ += bytes.size();
    return {};
  }

  void fail(error e) {
    std::lock_guard lock(failing_);
    if (failure_.code == ec::none)
      failure_ = std::move(e);
    stop_ = true;
  }

  const hashing_job& job_;
  std::vector<uint64_t> ends_; // of each file, in chunks of all
  std::atomic<uint64_t> next_{0}, done_{0};
  std::atomic<bool> stop_{false};
  std::mutex failing_;
  error failure_{ec::none, {}};
};

} // namespace

result<hashing_job> open_to_hash(const std::vector<model_file>& files, uint32_t chunk_bytes) {
  hashing_job job;
  job.chunk_bytes = chunk_bytes;
  for (const auto& file : files) {
    auto handle = file_handle::open_to_read(file.path);
    if (!handle)
      return handle.err();
    auto about = handle->about();
    if (!about)
      return about.err();
    job.bytes += static_cast<uint64_t>(about->st_size);
    job.files.push_back({file.name, file.path, *about, std::move(*handle)});
  }
  return job;
}

result<std::vector<manifest_file>>
hash_chunks(const hashing_job& job, uint32_t threads,
            const std::function<bool(uint64_t, uint64_t)>& progress) {
  hashing shared(job);
  std::vector<std::thread> others;
  for (uint32_t i = 1; i < threads; ++i)
    others.emplace_back([&] { shared.work([] { return true; }); });
  shared.work([&] { return !progress || progress(shared.done(), job.bytes); });
  for (auto& thread : others)
    thread.join();
  if (shared.failure().code != ec::none)
    return shared.failure();
  // The last chunk may have been another thread's.
  if (progress && !progress(job.bytes, job.bytes))
    return {ec::cancelled, "hashing the model was cancelled"};
  return std::move(shared.out);
}

} // namespace coel::model
