// From what a predictor says to what is read ahead: how sure it has to be, and whether it pays,
// layer by layer (prefetch_switch.hpp). Pure: clock and what is in memory come from the caller.
#pragma once

#include "policy/expert_supply.hpp"
#include "policy/prefetch_switch.hpp"

#include <functional>
#include <span>

namespace coel::policy {

class foresight {
 public:
  using state_of = std::function<expert_supply::state(expert_key)>;

  explicit foresight(cache_shape shape);

  /// A layer's next turn, `ahead` layers from now (1 to 3), needs each of its experts with that
  /// probability: those to be kept or read, most likely first. Where reading ahead is switched off
  /// only those that are here; what would have been read is judged all the same. `busy`: share of
  /// time in which something is read, 0 to 1.
  std::vector<expert_supply::wish> consider(layer_id layer, uint32_t ahead,
                                            std::span<const float> probability, const state_of& is,
                                            double now_us, double busy);

  /// The layer's turn has come and wants these; `is`: just before. A read takes `read_us`.
  void turn(layer_id layer, std::span<const expert_use> wanted, const state_of& is, double now_us,
            double read_us);

  bool on(layer_id layer) const { return layers_[index(layer)].pays.on(); }
  double precision(layer_id layer) const { return layers_[index(layer)].pays.precision(); }
  /// Of waiting, by what was read ahead, less what reading for nothing cost.
  double saved_us() const { return saved_us_; }

 private:
  /// An expert that was not here when it was foreseen.
  struct guess {
    expert_id expert{};
    bool shadow = false; ///< not read: the layer is switched off
    double since_us = 0;
  };
  struct layer_state {
    prefetch_switch pays;
    std::vector<guess> open;
  };
  void judge(layer_state& l, const guess& g, bool right, expert_supply::state was, double now_us,
             double read_us);

  cache_shape shape_;
  std::vector<layer_state> layers_;
  double saved_us_ = 0;
};

} // namespace coel::policy
