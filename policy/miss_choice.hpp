// An expert is not in memory: what is the fastest way to its rows' outputs? One model of time for
// all ways, from measured rates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace coel::policy {

enum class miss_way : uint8_t {
  wait,  ///< read it from disk and run it here
  lower, ///< run a copy of fewer bits that is in memory: changes the answer, so only if allowed
  peer,  ///< ask a node that has it in memory
};

struct miss_question {
  uint64_t bytes = 0;          ///< of the expert on disk
  uint64_t bytes_before = 0;   ///< that are read first: demands before it, and the rest of its own
  double disk_bytes_per_s = 0; ///< 0: not known
  double disk_fixed_us = 0;    ///< of one read
  double pack_us = 0;          ///< bringing it into the device's layout
  double run_us = 0;           ///< its rows here
  std::optional<double> lower_run_us; ///< none: no such copy, or the user does not allow it
  struct peer_cost {
    double round_trip_us = 0;
    double wire_us = 0;  ///< its rows there and back
    double queue_us = 0; ///< what waits there already
    double run_us = 0;
  };
  std::optional<peer_cost> peer; ///< none: no peer has it in memory
  /// Runs here before its turn in any case: so much of the reading costs no time.
  double meanwhile_us = 0;
};

struct miss_answer {
  miss_way way = miss_way::wait;
  double us = 0; ///< predicted
};

inline double wait_us(const miss_question& q) {
  constexpr double unknown = 100e6; // a slow SSD: other ways are preferred until it is measured
  double rate = q.disk_bytes_per_s > 0 ? q.disk_bytes_per_s : unknown;
  double read_us = q.disk_fixed_us + static_cast<double>(q.bytes + q.bytes_before) / rate * 1e6;
  return std::max(read_us + q.pack_us - q.meanwhile_us, 0.0) + q.run_us;
}

/// The way of least predicted time; of equal ones the first in the order above, since it keeps the
/// expert here and exact.
inline miss_answer choose_way(const miss_question& q) {
  miss_answer best{miss_way::wait, wait_us(q)};
  if (q.lower_run_us && *q.lower_run_us < best.us)
    best = {miss_way::lower, *q.lower_run_us};
  if (q.peer) {
    double us = q.peer->round_trip_us + q.peer->wire_us + q.peer->queue_us + q.peer->run_us;
    if (us < best.us)
      best = {miss_way::peer, us};
  }
  return best;
}

} // namespace coel::policy
