// Which read comes next, and what becomes of it: jobs of several pieces, cut into reads of bounded
// size. Knows no thread and no clock; disk_reader drives it under a lock.
#pragma once

#include "model/direct_file.hpp"
#include "model/read_engine.hpp"
#include "model/staging_ring.hpp"

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

namespace coel::model {

/// Bytes [offset, offset + bytes) of a file.
struct file_piece {
  direct_file_ptr file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

enum class read_priority : uint8_t {
  demand,   ///< somebody waits
  prefetch, ///< somebody may come to wait: read only when no demand is to be
};

enum class read_ticket : uint64_t {};

/// Memory that a job is read into instead of a slot of the ring: whole pages, kept by `owner` at
/// least until the job is through.
struct read_target {
  std::byte* at = nullptr; ///< null: a slot
  uint64_t bytes = 0;
  std::shared_ptr<const void> owner;
};

/// A job's bytes, by piece, where they were read.
struct read_bytes {
  std::optional<uint32_t> slot; ///< of the ring; none: in the job's target
  std::shared_ptr<const void> owner; ///< of that
  std::vector<std::span<const std::byte>> pieces;
  uint64_t read = 0; ///< from disk: with what alignment adds
};

class read_queue {
 public:
  using outcome = std::function<void(result<read_bytes>)>;

  struct limits {
    uint64_t chunk_bytes = 1 << 20;   ///< of one read
    uint32_t in_flight = 4;           ///< reads under way
    uint32_t prefetch_in_flight = 2;  ///< of these for prefetch
    uint32_t demand_slots = 1;        ///< that prefetch leaves free
    uint32_t attempts = 3;            ///< of a read that the system fails
  };

  struct counts {
    uint64_t demand_jobs = 0, prefetch_jobs = 0; ///< read to the end
    uint64_t demand_bytes = 0, prefetch_bytes = 0;
    uint64_t promoted = 0;     ///< prefetches that somebody came to wait for
    uint64_t cancelled = 0;    ///< jobs
    uint64_t wasted_bytes = 0; ///< of jobs cancelled or failed under way
    uint64_t repeats = 0;      ///< reads tried again
    uint64_t failed = 0;       ///< jobs
  };

  read_queue(staging_ring_ptr ring, limits how);

  /// Errors: bad_argument (no pieces, outside the file, larger than a slot or the target).
  result<read_ticket> add(std::vector<file_piece> pieces, read_priority priority, outcome done,
                          read_target into = {});
  /// A prefetch becomes a demand; false if it is none that is waiting or under way.
  bool promote(read_ticket which);
  /// False if it is through. Its outcome (cancelled) comes once nothing of it is under way.
  bool cancel(read_ticket which);
  /// All of them end with this error.
  void fail_all(const error& why);

  /// The next read to begin, if one may.
  std::optional<raw_read> next();
  void finished(uint64_t tag, int64_t result);
  void release(uint32_t slot);

  /// Outcomes that are due, to be called without the lock.
  std::vector<std::function<void()>> take_outcomes() { return std::exchange(due_, {}); }

  uint32_t in_flight() const { return static_cast<uint32_t>(flights_.size()); }
  uint32_t waiting() const { return static_cast<uint32_t>(jobs_.size()); }
  const counts& counted() const { return counts_; }
  const staging_ring_ptr& ring() const { return ring_; }

 private:
  struct extent { ///< aligned; lies in the slot at `at`
    direct_file_ptr file;
    uint64_t offset = 0;
    uint64_t end = 0;
    uint64_t at = 0;
    uint64_t needed_end = 0; ///< up to here the file has bytes
  };
  struct job {
    std::vector<file_piece> pieces;
    std::vector<extent> extents;
    std::vector<std::pair<size_t, uint64_t>> places; ///< by piece: offset in the slot
    outcome done;
    read_priority priority{};
    read_target into;
    std::optional<uint32_t> slot;
    size_t extent_now = 0;
    uint64_t read_to = 0; ///< of extent_now: asked for so far
    uint32_t under_way = 0;
    uint64_t bytes = 0;
    std::optional<error> ends; ///< no more of it is to be read
    bool asked_for_all() const { return extent_now == extents.size(); }
  };
  struct flight {
    read_ticket of{};
    raw_read what;
    uint64_t needed = 0; ///< of its bytes the file has
    uint32_t attempt = 1;
    bool prefetch = false;
    direct_file_ptr file;
  };

  bool lay_out(job& j) const;
  std::optional<raw_read> next_of(std::deque<read_ticket>& order, bool prefetch);
  bool may_begin(const job& j, bool prefetch) const;
  std::byte* base(const job& j) const;
  raw_read cut(read_ticket id, job& j, bool prefetch);
  bool try_again(flight& f, int64_t result);
  void settle(read_ticket id);
  void drop_from_order(read_ticket id);
  result<void> check_files(const job& j) const;

  staging_ring_ptr ring_;
  limits how_;
  std::map<read_ticket, job> jobs_;
  std::deque<read_ticket> demands_, prefetches_; ///< not yet asked for to the end
  std::map<uint64_t, flight> flights_;
  std::deque<flight> repeats_;
  std::vector<uint32_t> free_slots_;
  std::vector<std::function<void()>> due_;
  counts counts_;
  uint64_t next_ticket_ = 1;
  uint64_t next_tag_ = 1;
  uint32_t prefetching_ = 0; ///< flights
};

} // namespace coel::model
