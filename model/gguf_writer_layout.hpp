// A model as a GGUF file: which metadata and which tensors of which types, from its configuration.
#pragma once

#include "model/gguf_writer.hpp"
#include "model/source.hpp"

#include <vector>

namespace coel::model {

/// One tensor of the file; an expert role is the stack of that matrix of all experts of the layer.
struct stored_tensor {
  role what{};
  layer_id layer{};
  uint64_t rows = 0; ///< of one matrix
  uint64_t cols = 0;
  uint32_t stack = 1; ///< matrices: experts of the layer, or 1
  dtype type{};
  bool fell_back = false; ///< rows do not divide into blocks of the type meant for it

  uint64_t row_size() const { return row_bytes(type, cols); }
  uint64_t bytes() const { return row_size() * rows * stack; }
};

/// Every tensor that the configuration requires, in file order. Matrices get the type asked for;
/// norms, biases and routers are f32 (they are small and everything hangs on them); the output
/// matrix is q6_k where a type of fewer bits is asked for. Where a row does not divide into blocks:
/// q8_0, else f16.
std::vector<stored_tensor> plan_tensors(const model_config& config, dtype asked);

gguf_tensor_info file_info(const stored_tensor& tensor);

/// What readers of GGUF need to know; the vocabulary is padded with unused tokens to config.vocab.
std::vector<gguf_pair> file_metadata(const model_config& config, const tokenizer_data& vocabulary,
                                     dtype asked);

/// "ffn_down_exps.weight of every layer as q8_0, ..." for the tensors that fell back; empty: none.
std::string describe_fallbacks(const std::vector<stored_tensor>& tensors);

} // namespace coel::model
