// Worker threads that run one program at a time, together. A program is a list of phases, a phase a
// number of tiles: each worker has a share of them and then takes from the others', and a phase
// begins when all tiles of the one before are done. So a worker that lost its core delays the
// others by at most the tile it holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace coel::cpu {

/// What a tile gets.
struct tile_context {
  uint32_t worker = 0;
  std::byte* scratch = nullptr; ///< program::scratch
};

struct phase {
  uint32_t tiles = 0; ///< >= 1
  std::function<void(const tile_context&, uint32_t tile)> run;
};

struct program {
  std::vector<phase> phases;
  std::byte* scratch = nullptr;      ///< memory that the tiles share
  std::shared_ptr<const void> keeps; ///< what the phases point into; let go before `done`
};

struct run_times {
  uint64_t queued_us = 0;
  uint64_t busy_us = 0;
};

struct executor_status {
  uint64_t programs_run = 0;
  uint64_t busy_us = 0;
  uint32_t waiting = 0; ///< programs in the queue
};

/// Programs run in the order of submission and so do their `done` calls, one at a time, each on a
/// worker. The next program starts beside the call; a submit from inside it starts at once.
class executor {
 public:
  using done = std::function<void(const run_times&)>;

  /// `pin`: worker i stays on the i-th core the process may use, if there are enough.
  executor(uint32_t threads, bool pin);

  /// Runs what is queued, then joins. From inside a `done` it cannot wait: the workers then end by
  /// themselves when the queue is empty.
  ~executor();

  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;

  void submit(program work, done call);
  executor_status status() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
  std::vector<std::thread> workers_;
};

/// Cores that this process may use.
uint32_t usable_cores();

} // namespace coel::cpu
