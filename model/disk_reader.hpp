// Reads pieces of files from disk past the page cache, a few large reads at a time, into a ring of
// fixed size. What somebody waits for overtakes what is read ahead.
#pragma once

#include "model/read_queue.hpp"

#include <chrono>
#include <mutex>

namespace coel::model {

/// The bytes of a job, for as long as `owner` lives: then its slot of the ring, or the target that
/// it was read into, is free again.
struct staged_read {
  std::vector<std::span<const std::byte>> pieces;
  std::shared_ptr<const void> owner;
  uint64_t read = 0; ///< bytes from disk
  uint64_t took_us = 0; ///< since it was asked for
};

struct disk_reader_status {
  std::string engine; ///< "io_uring", "threads"
  uint64_t ring_bytes = 0;
  uint32_t waiting = 0; ///< jobs that are not through
  double bytes_per_s = 0; ///< while something was read, over the last seconds; 0: not known yet
  double demand_us = 0;   ///< mean of the last demands, from asking to having
  read_queue::counts counts;
};

class disk_reader {
 public:
  /// Called once, on a thread of the reader (or of whoever cancels); must be short. Errors: io,
  /// bad_file (the file is shorter or was written to), cancelled, shutting_down.
  using done = std::function<void(result<staged_read>)>;
  using make_engine = std::function<read_engine_ptr(uint32_t depth, read_engine::finished)>;

  struct options {
    uint64_t slot_bytes = 0; ///< of the largest job, with up to two pages for each of its pieces
    uint32_t slots = 8;
    read_queue::limits limits;
    make_engine engine = make_read_engine;
  };

  /// Errors: out_of_memory, bad_argument.
  static result<std::unique_ptr<disk_reader>> start(const options& how);
  ~disk_reader(); ///< waits for reads under way; what is not through ends with shutting_down
  disk_reader(const disk_reader&) = delete;
  disk_reader& operator=(const disk_reader&) = delete;

  /// All of these are thread-safe and do not wait for the disk.
  /// Errors: bad_argument (no pieces, not in the file, larger than a slot or the target).
  result<read_ticket> submit(std::vector<file_piece> pieces, read_priority priority, done then,
                             read_target into = {});
  /// Somebody waits for that prefetch now.
  bool promote(read_ticket which);
  /// Nobody wants it any more; false if it is through.
  bool cancel(read_ticket which);

  disk_reader_status status() const;

 private:
  class core;
  explicit disk_reader(std::shared_ptr<core> c) : core_(std::move(c)) {}
  std::shared_ptr<core> core_;
};

} // namespace coel::model
