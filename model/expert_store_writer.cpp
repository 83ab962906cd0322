#include "model/expert_store.hpp"
#include "model/expert_store_format.hpp"
#include "model/manifest_io.hpp"
#include "model/parallel_jobs.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <xxhash.h>

namespace coel::model {

namespace {

/// A file under a name of its own until it is whole. One process at a time writes it.
class unfinished_file {
 public:
  static result<unfinished_file> create(const std::filesystem::path& final_path) {
    auto path = final_path;
    path += ".new";
    auto file = file_handle::open_to_write(path);
    if (!file)
      return file.err();
    unfinished_file made(final_path, std::move(*file));
    if (::flock(made.file_.descriptor(), LOCK_EX | LOCK_NB) != 0 || !made.still_named()) {
      made.finished_ = true; // it is another's
      return {ec::busy, path.string() + ": another process writes it: wait until it is through"};
    }
    return made;
  }
  unfinished_file(unfinished_file&& other) noexcept
      : final_(std::move(other.final_)), file_(std::move(other.file_)),
        finished_(std::exchange(other.finished_, true)) {}
  ~unfinished_file() {
    if (!finished_)
      ::unlink(file_.path().c_str());
  }

  /// So that a full disk is told before the work and not after it.
  result<void> reserve(uint64_t bytes) {
    if (auto ok = file_.resize(0); !ok)
      return ok;
    if (int code = ::posix_fallocate(file_.descriptor(), 0, static_cast<off_t>(bytes)); code != 0)
      return {ec::io, file_.path().string() + ": no room for " + std::to_string((bytes >> 20) + 1) +
                          " MiB: " + std::strerror(code)};
    return {};
  }
  result<void> write(uint64_t offset, std::span<const std::byte> bytes) const {
    auto ok = file_.write_at(offset, bytes);
    if (ok) // what was written is not read soon
      ::sync_file_range(file_.descriptor(), static_cast<off_t>(offset),
                        static_cast<off_t>(bytes.size()), SYNC_FILE_RANGE_WRITE);
    return ok;
  }
  result<void> finish() {
    if (auto ok = file_.sync(); !ok)
      return ok;
    ::posix_fadvise(file_.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
    if (::rename(file_.path().c_str(), final_.c_str()) != 0)
      return system_error(final_, "replace");
    finished_ = true;
    auto folder = final_.has_parent_path() ? final_.parent_path() : std::filesystem::path(".");
    if (int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
      ::fsync(fd); // the name too
      ::close(fd);
    }
    return {};
  }

 private:
  unfinished_file(std::filesystem::path final_path, file_handle file)
      : final_(std::move(final_path)), file_(std::move(file)) {}
  /// Whoever had the lock before may have given the file its final name.
  bool still_named() const {
    struct stat named {};
    auto mine = file_.about();
    return mine && ::stat(file_.path().c_str(), &named) == 0 && named.st_ino == mine->st_ino &&
           named.st_dev == mine->st_dev;
  }
  std::filesystem::path final_;
  file_handle file_;
  bool finished_ = false;
};

/// Expert `i` into its piece of the file; its checksum into the header. Returns its bytes.
result<uint64_t> pack(size_t i, store_header& header, const source& from,
                      const compute::kept_layout& layout, const unfinished_file& file,
                      std::vector<std::byte>& memory) {
  auto& entry = header.index[i];
  expert_key key{static_cast<layer_id>(i / header.experts),
                 static_cast<expert_id>(i % header.experts)};
  auto places = places_of(from, layout, key);
  if (!places)
    return places.err();
  memory.assign(entry.bytes + compute::kept_layout::alignment, std::byte{0});
  void* at = memory.data();
  size_t space = memory.size();
  std::align(compute::kept_layout::alignment, entry.bytes, at, space);
  auto* piece = static_cast<std::byte*>(at);
  for (size_t m = 0; m < places->matrices.size(); ++m) {
    layout.arrange(places->matrices[m], piece + places->offsets[m]);
    from.release(places->matrices[m]);
  }
  std::span<const std::byte> bytes(piece, entry.bytes);
  entry.checksum = XXH64(bytes.data(), bytes.size(), 0);
  if (auto ok = file.write(entry.offset, bytes); !ok)
    return ok.err();
  return entry.bytes;
}

result<store_header> header_for(const source& of, const compute::kept_layout& layout) {
  auto sample = sample_of(of);
  if (!sample)
    return sample.err();
  const auto& c = of.config();
  store_header h;
  h.layout = layout.name();
  h.source_bytes = of.info().file_bytes;
  h.source_sample = *sample;
  h.layers = c.layers;
  h.experts = c.experts;
  h.index.resize(size_t{c.layers} * c.experts);
  uint64_t at = h.encoded_bytes();
  for (size_t i = 0; i < h.index.size(); ++i) {
    auto places = places_of(
        of, layout, {static_cast<layer_id>(i / c.experts), static_cast<expert_id>(i % c.experts)});
    if (!places)
      return places.err();
    h.index[i] = {at, places->bytes, 0};
    at += places->bytes;
  }
  return h;
}

} // namespace

result<uint64_t> write_expert_store(const source_ptr& of, const compute::kept_layout& layout,
                                    const std::filesystem::path& path, const store_writing& how) {
  auto header = header_for(*of, layout);
  if (!header)
    return header.err();
  if (header->index.empty())
    return {ec::unsupported, "the model has no routed experts: nothing is to be packed"};
  auto size = header->index.back().offset + header->index.back().bytes;
  auto file = unfinished_file::create(path);
  if (!file)
    return file.err();
  if (auto ok = file->reserve(size); !ok)
    return ok.err();
  auto total = size - header->encoded_bytes();
  auto job = [&](size_t i, std::vector<std::byte>& memory) {
    return pack(i, *header, *of, layout, *file, memory);
  };
  auto tell = [&](uint64_t done) {
    if (how.progress)
      how.progress(done, total);
  };
  if (auto ok = run_in_parallel(header->index.size(), how.threads, job, tell); !ok)
    return ok.err();
  if (auto ok = file->write(0, header->encode()); !ok)
    return ok.err();
  if (auto ok = file->finish(); !ok)
    return ok.err();
  return size;
}

} // namespace coel::model
