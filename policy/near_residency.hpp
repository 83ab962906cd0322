// Which routed experts lie in a small fast memory beside the one that all are in: those with the
// greatest benefit per byte, where the benefit is how often a token activates them. Usage and
// outcomes in, moves out: it knows no thread, no clock and no device.
//
// Benefit by bytes is the greedy rule for knapsacks (Dantzig, 1957), whose loss is at most the last
// item that did not fit; experts of a model are nearly equal. One that is in the memory is
// exchanged only for one that is worth clearly more, since each move costs a copy. While nothing is
// known, and among equals, layers come one after another: a layer that is whole there needs nobody
// beside it.
#pragma once

#include "policy/cache_value.hpp"

#include <functional>
#include <vector>

namespace coel::policy {

struct residency_limits {
  double half_life_tokens = 1024; ///< of what is known of use
  double margin = 1.25;           ///< what comes must be worth so many times what goes
  double least_gain = 0.01;       ///< and so many activations per token more
  uint32_t moves_at_once = 4;
};

struct residency_move {
  expert_key key;
  bool come = true; ///< else go
  bool operator==(const residency_move&) const = default;
};

class near_residency {
 public:
  /// `bytes` [layers, experts]: of each there, as far as it is known.
  near_residency(cache_shape shape, std::vector<uint64_t> bytes, residency_limits limits = {});

  /// Rows that chose each since the last call, [layers, experts], among so many tokens.
  void used(std::span<const uint64_t> rows, uint64_t tokens);

  /// What to do next, at most moves_at_once; none while some of the last are not answered. `room`:
  /// bytes for this model's experts there; the sum of those there and ordered never exceeds it by
  /// an order, but what is there already is not sent away because room shrinks. Only experts for
  /// which `may` says so come.
  using test = std::function<bool(size_t slot)>;
  std::vector<residency_move> next(uint64_t room, const test& may);

  /// Each move is answered once. A refusal holds further ones back for a while.
  void moved(const residency_move& m, bool done, uint64_t bytes = 0);
  /// It is no longer there, for reasons of others; or has come there for such.
  void lost(expert_key key);
  void came(expert_key key, uint64_t bytes);

  bool is_near(expert_key key) const { return near_[shape_.slot(key)]; }
  double value(expert_key key) const { return value_[shape_.slot(key)]; }
  uint64_t near_bytes() const;
  bool waiting() const { return !pending_.empty(); }

 private:
  double density(size_t slot) const;
  expert_key key_of(size_t slot) const;
  std::vector<size_t> by_density(const test& chosen, bool rising) const;
  bool exchange(size_t candidate, uint64_t room, uint64_t taken,
                std::vector<residency_move>& moves) const;

  cache_shape shape_;
  std::vector<uint64_t> bytes_;
  residency_limits limits_;
  std::vector<double> value_; ///< activations per token, decayed
  std::vector<bool> near_;
  std::vector<residency_move> pending_;
  uint32_t hold_back_ = 0; ///< turns without a coming
};

} // namespace coel::policy
