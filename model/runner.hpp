// One session of a model on one device in a plain loop, without actors: what `coel eval` runs, what
// the golden tests check, and the yardstick for the actors' cost.
#pragma once

#include "model/graph.hpp"

#include <functional>
#include <memory>
#include <span>

namespace coel::model {

struct runner_options {
  uint32_t context = 0;     ///< tokens of KV; 0: the model's own context
  uint32_t max_rows = 512;  ///< rows of one step
  uint32_t max_logits = 64; ///< rows of logits held at once
};

class runner {
 public:
  /// Loads every weight. `progress(done, total)` in bytes of the file, from this thread.
  static result<std::unique_ptr<runner>>
  load(source_ptr from, compute::device_ptr on, const runner_options& options = {},
       std::function<void(uint64_t, uint64_t)> progress = {});
  /// Over weights that are on the device already; experts [layers][experts_per_layer].
  static result<std::unique_ptr<runner>> over(source_ptr from, compute::device_ptr on,
                                              dense_weights dense,
                                              std::vector<std::vector<expert_ptr>> experts,
                                              const runner_options& options = {});
  ~runner();

  /// Called with the logits [vocab] after the token at `position`, in rising order.
  using logits_sink = std::function<void(uint32_t position, std::span<const float> logits)>;
  /// Called after each layer step with the experts chosen, ids [rows, top_k].
  using routing_sink =
      std::function<void(uint32_t first_position, layer_id, std::span<const int32_t> ids)>;

  /// Appends tokens to the session and gives the logits of all of them to the sink.
  /// Errors: too_long (context), bad_argument (token out of range), those of the device.
  result<void> feed_all(std::span<const int32_t> tokens, const logits_sink& sink);
  /// Appends tokens; the result is the logits after the last, valid until the next call.
  result<std::span<const float>> feed(std::span<const int32_t> tokens);

  void reset(); ///< forgets the session
  uint32_t position() const;
  void observe_routing(routing_sink sink);
  const model_config& config() const;
  /// What the layer just routed was computed in; for a routing_sink.
  const step_buffers& buffers() const;
  uint64_t weight_bytes() const; ///< on the device

 private:
  struct state;
  explicit runner(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

/// Groups a routed batch by expert, in rising order of expert; rows rising within each.
/// ids and weights are [rows, top_k]; result[i].rows is never empty.
struct expert_rows {
  expert_id expert{};
  std::vector<uint32_t> rows;
  std::vector<float> weights;
};
std::vector<expert_rows> group_by_expert(std::span<const int32_t> ids,
                                         std::span<const float> weights, uint32_t rows,
                                         uint32_t experts);

} // namespace coel::model
