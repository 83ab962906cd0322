// The layer graph of every family: which operations a batch of rows passes through. Pure: builds
// command lists, runs nothing.
#pragma once

#include "compute/device.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

#include <vector>

namespace coel::model {

/// Rows of a step that one list may take through several layers (graph::whole_layer).
inline constexpr uint32_t most_whole_rows = 16;

/// All experts of a layer, where the device can run them without being told which.
struct whole_experts {
  std::vector<std::shared_ptr<const compute::expert_weights>> shared; ///< slices
  compute::expert_table_ptr routed;
};

/// Device memory of one step, for up to max_rows rows and max_logits rows of logits.
struct step_buffers {
  uint32_t max_rows = 0;
  uint32_t max_logits = 0;
  compute::buffer_ptr residual;      ///< [rows, hidden]
  compute::buffer_ptr normed;        ///< [rows, hidden]: input of attention, then of the experts
  compute::buffer_ptr q, k, v;       ///< [rows, heads * head_dim], [rows, kv_heads * head_dim]
  compute::buffer_ptr mixed;         ///< [rows, heads * head_dim]: attention's output
  compute::buffer_ptr router_logits; ///< [rows, experts]
  compute::buffer_ptr ids;           ///< int32 [rows, top_k], host-visible
  compute::buffer_ptr weights;       ///< [rows, top_k], host-visible
  compute::buffer_ptr shared_weight; ///< [rows]: sigmoid gate of the shared expert
  compute::buffer_ptr chosen;        ///< [max_logits, hidden]
  compute::buffer_ptr logits;        ///< [max_logits, vocab], host-visible
  compute::buffer_ptr all_ids;       ///< int32 [layers, most_whole_rows, top_k], of whole steps
  compute::buffer_ptr all_weights;   ///< [most_whole_rows, top_k]

  const int32_t* chosen_experts() const { return ids->i32(); }
  const float* chosen_weights() const { return weights->f32(); }
  float* logits_row(uint32_t row, uint32_t vocab) const {
    return logits->f32() + size_t{row} * vocab;
  }
};

/// Errors: out_of_memory.
result<step_buffers> make_step_buffers(const model_config& config, compute::device& dev,
                                       uint32_t max_rows, uint32_t max_logits);

/// Bytes that make_step_buffers will take.
uint64_t step_buffer_bytes(const model_config& config, uint32_t max_rows, uint32_t max_logits);

/// What a device takes beside the buffers for any list of the graph, at the most: rows in the
/// device's own form, intermediate rows of experts, parts of long histories. And for its tables.
uint64_t working_bytes(const model_config& config, uint32_t max_rows, uint32_t max_logits);
uint64_t table_bytes(const model_config& config);

class graph {
 public:
  graph(const model_config& config, const dense_weights& weights)
      : config_(config), weights_(weights) {}

  /// residual = embedding of the tokens.
  compute::command_list embed(const step_buffers& b, std::vector<int32_t> tokens) const;

  /// One layer up to the router: attention added to residual; normed, ids, weights and
  /// shared_weight are left for the experts.
  compute::command_list attention(const step_buffers& b, layer_id layer, uint32_t rows,
                                  compute::kv_cache* cache,
                                  std::vector<compute::segment> segments) const;

  /// A whole layer of at most most_whole_rows rows: attention, router, experts. What the router
  /// chose is left in row `slot` of all_ids. The same bits as attention() and then experts() with
  /// the shared slices first and the chosen experts by rising id.
  compute::command_list whole_layer(const step_buffers& b, layer_id layer, uint32_t rows,
                                    compute::kv_cache* cache,
                                    std::vector<compute::segment> segments,
                                    const whole_experts& experts, uint32_t slot) const;

  /// residual += the experts' weighted outputs.
  compute::command_list experts(const step_buffers& b, uint32_t rows,
                                std::vector<compute::expert_task> tasks) const;

  /// logits[i] = output of row rows[i]; at most max_logits of them. The next two, one after the
  /// other, are the same in parts.
  compute::command_list head(const step_buffers& b, uint32_t rows,
                             std::vector<uint32_t> chosen) const;

  /// chosen[i] = final norm of row rows[i]; at most max_logits of them.
  compute::command_list last_norm(const step_buffers& b, uint32_t rows,
                                  std::vector<uint32_t> chosen) const;

  /// Columns [first, end) of the logits [in.rows, vocab] of rows that passed the last norm; first
  /// is a multiple of compute::projection_unit, the other columns are left as they are.
  compute::command_list output(compute::rows_f32 in, compute::rows_f32 logits, uint32_t first,
                               uint32_t end) const;

  const model_config& config() const { return config_; }

 private:
  compute::command_list up_to_router(const step_buffers& b, layer_id layer, uint32_t rows,
                                     compute::kv_cache* cache,
                                     std::vector<compute::segment> segments, int32_t* ids,
                                     float* weights) const;

  model_config config_;
  const dense_weights& weights_; // owned by whoever owns the graph
};

} // namespace coel::model
