// The routers of all layers over one hidden state: what deeper layers would choose if nothing came
// in between (mixtral-offloading, arXiv 2312.17238, section 3.2). A guess for a predictor, and no
// part of the model's arithmetic: plain floats on the host.
#pragma once

#include "common/result.hpp"
#include "model/source.hpp"

#include <memory>
#include <span>
#include <vector>

namespace coel::model {

class deep_routers {
 public:
  /// Errors: bad_file (a tensor is missing or of another shape).
  static result<std::unique_ptr<deep_routers>> load(const source& from);

  /// `residual` [hidden] is the stream before the experts of some layer; `logits` [experts] become
  /// those of `layer`.
  void apply(layer_id layer, std::span<const float> residual, std::vector<float>& logits) const;

  /// Of a model of that shape.
  static uint64_t bytes(const model_config& c) {
    return uint64_t{c.layers} * c.experts * (c.hidden * sizeof(int16_t) + sizeof(float));
  }

 private:
  explicit deep_routers(const model_config& c)
      : experts_(c.experts), hidden_(c.hidden), eps_(c.rms_eps) {}
  uint32_t experts_, hidden_;
  float eps_;
  /// [layers, experts, hidden], times the norm's weights, over the row's scale: all of a layer's
  /// are read for every guess, from memory that the device needs too.
  std::vector<int16_t> rows_;
  std::vector<float> scales_; // [layers, experts]
};

} // namespace coel::model
