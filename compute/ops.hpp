// The operations that a model's layers are made of. A command list is a sequence of them that a
// device runs in order and completes once: on a CPU the worker threads share each operation and
// meet between two; on a GPU the list is a sequence of kernels on a stream.
//
// Pointers are to memory of the device that runs the list (compute/device.hpp: allocate). Lists of
// indices (tokens, rows, positions) are host memory owned by the operation. Operations never
// allocate on behalf of the caller, and the caller keeps every buffer alive until completion.
//
// Numerics that every implementation must keep: an output row depends on its own input row only,
// bit for bit, whatever other rows run beside it; and on no thread count.
#pragma once

#include "common/dtype.hpp"

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

namespace coel::compute {

class weight;
class kv_cache;

/// Packed rows of float32 in device memory: [rows, cols].
struct rows_f32 {
  float* data = nullptr;
  uint32_t rows = 0;
  uint32_t cols = 0;
  float* row(uint32_t r) const { return data + size_t{r} * cols; }
};

/// out[i, :] = table[tokens[i], :]. The table was loaded with weight_use::lookup.
struct embed {
  const weight* table = nullptr; ///< [vocab, cols]
  std::vector<int32_t> tokens;   ///< [out.rows], each in [0, vocab)
  rows_f32 out;
};

/// out = in / sqrt(mean(in^2) + eps) * gain, row by row; in and out may be the same memory.
/// Norms per head view the same memory as [rows * heads, head_dim].
struct rms_norm {
  rows_f32 in;
  const float* gain = nullptr; ///< [cols]
  float eps = 1e-6f;
  rows_f32 out;
};

/// A part of a projection begins at a multiple of so many columns.
inline constexpr uint32_t projection_unit = 64;

/// One output of a projection: out = in W^T (+ bias), or out += ... when `add` is set.
struct projection {
  const weight* w = nullptr;   ///< [out.cols, in.cols]
  const float* bias = nullptr; ///< [out.cols] or null
  rows_f32 out;
  bool add = false;
  uint32_t first = 0;         ///< columns before this one are left as they are
  uint32_t end = all_columns; ///< so are those from here on; first < end
  static constexpr uint32_t all_columns = 0xffffffff;

  uint32_t end_column() const { return end < out.cols ? end : out.cols; }
};

/// Several projections of the same input (q, k and v), so that it is quantised once.
struct project {
  rows_f32 in;
  std::vector<projection> outputs;
};

/// How rotary embedding pairs the elements of a head.
enum class rope_style : uint8_t {
  half,        ///< (i, i + d/2): Hugging Face, GPT-NeoX
  interleaved, ///< (2i, 2i + 1): GGUF llama
};

struct rope_params {
  rope_style style = rope_style::half;
  uint32_t dims = 0; ///< rotated elements of a head (the first ones); even
  float base = 10000.f;
  float scale = 1.f; ///< position multiplier (linear scaling: 1 / factor)
};

/// Rows of one session inside a batch: rows [first_row, first_row + count) hold the tokens at
/// positions [position, position + count) of the session whose KV pages are listed.
struct segment {
  uint32_t first_row = 0;
  uint32_t count = 0;
  uint32_t position = 0;
  std::vector<uint32_t> pages; ///< of the kv_cache; covers position + count tokens
};

/// Rotates q and k, stores k and v as f16 into the sessions' pages, then causal attention with
/// grouped heads: out[row] = softmax(q k^T / sqrt(head_dim)) v over positions <= the row's own.
struct attend {
  rows_f32 q;                ///< [rows, heads * head_dim], rotated in place
  rows_f32 k;                ///< [rows, kv_heads * head_dim], rotated in place
  rows_f32 v;                ///< [rows, kv_heads * head_dim]
  rows_f32 out;              ///< [rows, heads * head_dim]
  kv_cache* cache = nullptr; ///< gives heads, head_dim, page length
  uint32_t layer = 0;
  uint32_t heads = 0;
  rope_params rope;
  std::vector<segment> segments;
};

/// Softmax over the experts, top k by probability (ties to the smaller id), ids in falling order.
struct route {
  rows_f32 logits; ///< [rows, experts]
  uint32_t top_k = 0;
  bool renormalise = false; ///< chosen weights sum to 1
  int32_t* ids = nullptr;   ///< [rows, top_k], host-visible
  float* weights = nullptr; ///< [rows, top_k], host-visible
};

/// x = 1 / (1 + exp(-x)), element by element (the gate of a shared expert).
struct sigmoid {
  rows_f32 x;
};

/// The three matrices of a SwiGLU expert: y = down(silu(gate x) * up x).
struct expert_weights {
  std::shared_ptr<const weight> gate; ///< [ff, hidden]
  std::shared_ptr<const weight> up;   ///< [ff, hidden]
  std::shared_ptr<const weight> down; ///< [hidden, ff]
  uint64_t bytes = 0;                 ///< resident bytes of the three
};

/// One expert over the rows that chose it.
struct expert_task {
  std::shared_ptr<const expert_weights> expert;
  std::vector<uint32_t> rows;         ///< of `in` and `out`, rising
  std::vector<float> weights;         ///< factor of each row's output; or empty, see below
  const float* row_weights = nullptr; ///< device memory [in.rows], read where `weights` is empty
};

/// out[r] += sum over the tasks, in their order, of weight * expert(in[r]).
struct run_experts {
  rows_f32 in;
  std::vector<expert_task> tasks;
  rows_f32 out;
};

/// All routed experts of a layer, by id: matrices of equal shapes.
using expert_table = std::vector<std::shared_ptr<const expert_weights>>;
using expert_table_ptr = std::shared_ptr<const expert_table>;

/// out[r] += sum over k, by rising id, of weights[r, k] * experts[ids[r, k]](in[r]): the same bits
/// as run_experts with those tasks. Ids are read when it runs, so a list may hold what chooses
/// them. Only for devices that say so (device::most_chosen_rows).
struct run_chosen {
  rows_f32 in;
  const int32_t* ids = nullptr;   ///< device memory [rows, top_k], each less than the table's size
  const float* weights = nullptr; ///< device memory [rows, top_k]
  uint32_t top_k = 0;
  expert_table_ptr experts;
  rows_f32 out;
};

/// out[i, :] = in[rows[i], :].
struct gather {
  rows_f32 in;
  std::vector<uint32_t> rows;
  rows_f32 out;
};

/// out += in, element by element; same shape.
struct add {
  rows_f32 in;
  rows_f32 out;
};

using operation = std::variant<embed, rms_norm, project, attend, route, sigmoid, run_experts,
                               gather, add, run_chosen>;

using command_list = std::vector<operation>;

} // namespace coel::compute
