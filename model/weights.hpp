// A model's weights on a device: the part that every token needs, and experts one by one.
#pragma once

#include "compute/device.hpp"
#include "model/source.hpp"

#include <vector>

namespace coel::model {

struct layer_weights {
  compute::buffer_ptr attn_norm, ffn_norm; ///< [hidden]
  compute::weight_ptr q, k, v, o;
  compute::buffer_ptr q_bias, k_bias, v_bias; ///< null: the family has none
  compute::buffer_ptr q_norm, k_norm;         ///< null: the family has none
  compute::weight_ptr router;                 ///< [experts, hidden]
  compute::weight_ptr shared_router;          ///< [1, hidden]; null: no gated shared expert
};

/// Everything but the experts: pinned for as long as the model is served.
struct dense_weights {
  compute::weight_ptr embedding;   ///< [vocab, hidden], for lookup
  compute::weight_ptr output;      ///< [vocab, hidden]
  compute::buffer_ptr output_norm; ///< [hidden]
  std::vector<layer_weights> layers;
  uint64_t bytes = 0; ///< on the device
};

/// Errors: as source::matrix and device::load.
result<dense_weights> load_dense(const source& from, compute::device& to);

using expert_ptr = std::shared_ptr<const compute::expert_weights>;

/// Experts of a layer, slices of the shared expert included: their ids follow the routed ones.
uint32_t experts_per_layer(const source& from);
uint32_t shared_slices(const source& from);

/// One routed expert, or one slice of the shared expert. Thread-safe.
result<expert_ptr> load_expert(const source& from, compute::device& to, expert_key key,
                               compute::weight_use use = compute::weight_use::project);

/// Bytes of that expert in the file; what loading it reads.
result<uint64_t> expert_file_bytes(const source& from, expert_key key);

/// Type of an expert's matrices, for status; of the gate matrix where they differ.
result<dtype> expert_type(const source& from, expert_key key);

} // namespace coel::model
