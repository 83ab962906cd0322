// One opened model, whatever its format: names and files differ, roles do not.
#pragma once

#include "common/ids.hpp"
#include "common/result.hpp"
#include "compute/matrix.hpp"
#include "model/config.hpp"
#include "model/file_identity.hpp"
#include "model/tokenizer_data.hpp"

#include <filesystem>
#include <memory>
#include <vector>

namespace coel::model {

/// Every tensor that a layer graph needs, by what it does.
enum class role : uint8_t {
  token_embedding,
  output_norm,
  output, // once a model
  attn_norm,
  attn_q,
  attn_k,
  attn_v,
  attn_q_bias,
  attn_k_bias,
  attn_v_bias,
  attn_output,
  attn_q_norm,
  attn_k_norm,
  ffn_norm,
  router,
  shared_router, // once a layer
  shared_gate,
  shared_up,
  shared_down, // once a layer, the whole shared expert
  expert_gate,
  expert_up,
  expert_down, // once an expert
};

struct tensor_key {
  role what{};
  layer_id layer{};
  expert_id expert{};
};

/// What `coel model` prints about the files.
struct source_info {
  std::string format; ///< "GGUF v3", "safetensors"
  std::vector<std::filesystem::path> files;
  uint64_t file_bytes = 0;
  uint64_t parameters = 0;
  std::vector<std::pair<dtype, uint64_t>> bytes_by_type; ///< tensor bytes, largest first
};

/// Where the bytes of a matrix lie.
struct file_extent {
  size_t file = 0; ///< of source_info::files
  uint64_t offset = 0;
};

/// Thread-safe once opened. Every tensor that the configuration requires has been found and its
/// shape, type and extent checked against the file when open_model returned.
class source {
 public:
  virtual ~source() = default;
  virtual const model_config& config() const = 0;
  virtual const tokenizer_data& vocabulary() const = 0;
  virtual const source_info& info() const = 0;
  virtual bool has(const tensor_key& key) const = 0;
  /// The matrix [rows, cols] in place; vectors (norms, biases) are [1, n]. An expert's matrices are
  /// its own slices. Errors: bad_file if the model has no such tensor.
  virtual result<compute::matrix_view> matrix(const tensor_key& key) const = 0;
  /// The caller has copied this matrix: its pages of the file need not stay in this process's
  /// memory (a later read faults them in again).
  virtual void release(const compute::matrix_view&) const {}
  /// Where a matrix of this source begins in its files. Errors: unsupported (it is in none).
  virtual result<file_extent> extent(const compute::matrix_view&) const {
    return {ec::unsupported, "this model does not lie in files"};
  }
  /// Whether that file is the one that this source was opened from, and not another of its name.
  virtual bool is_of(size_t /*file*/, const file_identity&) const { return false; }
  /// From now on single rows are read in place, and little of what they do not need.
  virtual void expect_single_rows() const {}
};
using source_ptr = std::shared_ptr<const source>;

/// Opens a GGUF file (or the first of a split set) or a Hugging Face directory.
/// Errors: io, bad_file, unsupported; the message names the file and the reason.
result<source_ptr> open_model(const std::filesystem::path& path);

} // namespace coel::model
