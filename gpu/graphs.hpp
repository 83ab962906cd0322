// Lists that come again and again, step for step the same, are started as one graph: a launch costs
// the host some microseconds, a graph of a layer hardly more than one launch. In decoding a layer's
// lists repeat from token to token while their experts lie where they lay: what changes from token
// to token (positions, pages, which experts) is in tables, which a list's first step copies. So a
// graph is exactly the steps that a plan asks for, and nothing has to be told when experts move.
#pragma once

#include "gpu/card.hpp"

#include <unordered_map>
#include <vector>

namespace coel::gpu {

struct graph_counts {
  uint64_t made = 0;
  uint64_t started = 0;
};

/// Not thread-safe.
class graph_cache {
 public:
  /// Keeps lists of so many steps together; 200 bytes each.
  explicit graph_cache(card_ptr on, size_t most_steps = 32 << 10)
      : on_(std::move(on)), most_(most_steps) {}

  /// The graph of these steps if they have come before, else null. Errors: device_lost.
  result<graph_ptr> find(const std::vector<step>& steps);
  graph_counts counts() const { return counts_; }

 private:
  struct entry {
    std::vector<step> steps;
    graph_ptr made; ///< null: seen once
    uint64_t used = 0;
  };
  void forget_older_half();

  card_ptr on_;
  size_t most_, kept_ = 0;                      // steps
  std::unordered_map<uint64_t, entry> entries_; ///< by hash
  uint64_t turn_ = 0;
  graph_counts counts_;
};

} // namespace coel::gpu
