// Which experts a sequence will need one to three layers ahead: logistic models that learn while
// the node works, from what the sequence chose so far and, if the caller has it, from a deeper
// layer's router applied to the present hidden state (mixtral-offloading, HOBBIT).
#pragma once

#include "common/ids.hpp"
#include "common/result.hpp"
#include "policy/routing_stats.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace coel::policy {

/// What one sequence chose in the last layer steps. Layers come in order; after the last one the
/// next token's first.
class route_history {
 public:
  explicit route_history(const routing_shape& shape);
  void chose(std::span<const int32_t> ids); ///< [top_k], of the next layer
  /// What was chosen n layer steps before the last one; empty where nothing was.
  std::span<const uint16_t> last(uint32_t n) const;
  uint64_t steps() const { return steps_; }

 private:
  uint32_t top_k_;
  size_t kept_;
  std::vector<uint16_t> ring_; // [kept, top_k]
  uint64_t steps_ = 0;
};

class expert_predictor {
 public:
  static constexpr uint32_t max_ahead = 3;

  explicit expert_predictor(const routing_shape& shape);

  /// What was predicted, and from what: handed back to learn() when the layer has been routed.
  struct prediction {
    layer_id layer{};
    uint32_t ahead = 0;                       ///< 1 to max_ahead
    std::vector<uint16_t> now, before, again; ///< chosen one and two steps back, and a token back
    std::vector<float> gate; ///< [experts], over the top_k-th, in their deviation; empty: not known
    std::vector<float> probability; ///< [experts]: to be among the chosen
  };

  /// `layer` is `ahead` steps after the last that `history` knows. `gate_logits` [experts] are that
  /// layer's router over the present hidden state, or empty.
  prediction predict(layer_id layer, uint32_t ahead, const route_history& history,
                     std::span<const float> gate_logits = {}) const;

  /// The truth of it, [top_k].
  void learn(const prediction& p, std::span<const int32_t> chosen);

  /// Share of the chosen experts that were among the top_k and the 2 top_k most probable, over the
  /// last thousand tokens or so.
  struct score {
    double recall = 0;
    double recall_of_double = 0;
    double recall_of_popular = 0; ///< what guessing the most frequent ones would have had
    uint64_t seen = 0;            ///< predictions judged
  };
  const score& scored(layer_id layer, uint32_t ahead) const { return at(layer, ahead).judged; }

  /// [experts], of the layer's uses lately, relative to each other.
  std::span<const float> frequency(layer_id layer) const { return at(layer, 1).frequency; }

  const routing_shape& shape() const { return shape_; }
  uint64_t bytes() const; ///< of its weights in memory

  /// Self-contained, with version and checksum. load: bad_file where these or the shape do not fit.
  std::vector<std::byte> save() const;
  static result<expert_predictor> load(std::span<const std::byte> from, const routing_shape& shape);

 private:
  /// A weight and the sum of its squared gradients (AdaGrad): rare pairs learn in large steps.
  struct pace {
    float rate;
    float damping; ///< squared gradients it begins with: small ones then mean small steps
  };
  struct weight {
    float w = 0, g2 = 0;
    void step(float gradient, const pace& p);
  };
  struct model {
    std::vector<weight> bias;        ///< [experts]
    std::vector<weight> now, before; ///< [experts, experts]: from, to
    std::vector<weight> again;       ///< [experts]
    /// Where the router is known: its part, and a bias of their own, since it knows what is
    /// popular.
    weight gate{2.5f, 0};
    std::vector<weight> gate_bias; ///< [experts]
    std::vector<float> frequency;  ///< [experts], decayed: the guess to beat
    score judged;
  };

  model& at(layer_id layer, uint32_t ahead) {
    return models_[size_t{index(layer)} * max_ahead + ahead - 1];
  }
  const model& at(layer_id layer, uint32_t ahead) const {
    return models_[size_t{index(layer)} * max_ahead + ahead - 1];
  }
  void judge(model& m, const prediction& p, std::span<const int32_t> chosen) const;
  template <class Model, class Visit>
  static void each_weight(Model& m, Visit visit);

  routing_shape shape_;
  std::vector<model> models_; // [layers, max_ahead]
};

/// Rows of one step together: probability that at least one of them chooses each expert.
std::vector<float> any_of(const std::vector<expert_predictor::prediction>& rows);

} // namespace coel::policy
