// What kernels are called with. Pointers are to memory of the card; tables of tasks lie in the
// list's own block there (list_block.hpp).
#pragma once

#include "common/dtype.hpp"

#include <cstddef>
#include <cstdint>

namespace coel::gpu {

/// Rows of int8 blocks: x = scale * q. In a block of 32 bytes, byte 8 t + i is column 4 t + i and
/// byte 8 t + 4 + i is column 16 + 4 t + i: a lane's operand is one load (simt.hpp: multiply_32).
struct int8_rows {
  std::byte* q = nullptr; ///< [rows, blocks, 32]
  float* scale = nullptr; ///< [rows, blocks]
  float* sum = nullptr;   ///< [rows, blocks], scale * sum of q
  uint32_t blocks = 0;
};

struct quantise_args {
  const float* in = nullptr; ///< [rows, 32 * blocks]
  int8_rows out;
  uint32_t rows = 0;
};

/// Some input rows of one matrix: out[i, :] = x[i, :] W^T (+ bias), or out += that.
struct matrix_task {
  const std::byte* weight = nullptr; ///< panels, or for float types rows of row_bytes
  const float* bias = nullptr;
  const uint32_t* x_rows = nullptr; ///< [count]; null: first_x, first_x + 1, ...
  const float* x = nullptr;         ///< float types: [.., cols]
  int8_rows quantised;              ///< the others
  float* out = nullptr;             ///< row of the first; rows are out_cols apart
  uint64_t row_bytes = 0;           ///< of a panel, or of a row for float types
  uint32_t first_x = 0;
  uint32_t count = 0;
  uint32_t rows = 0; ///< of the weight
  uint32_t cols = 0;
  uint32_t out_cols = 0;
  uint32_t add = 0;
};

/// A block is one group of weight rows (x) of one task (y).
struct matrix_args {
  const matrix_task* tasks = nullptr;
};

/// h = silu(gate) * up for rows of one width; as floats, as int8 blocks, or both.
struct swiglu_args {
  const float* gate = nullptr; ///< [rows, cols]
  const float* up = nullptr;
  float* out = nullptr; ///< null: not wanted
  int8_rows quantised;  ///< q null: not wanted
  uint32_t rows = 0;
  uint32_t cols = 0;
};

/// One expert's part in an output row.
struct share {
  const float* factor = nullptr; ///< null: `weight` is it
  float weight = 0;
  uint32_t slot = 0;
};

/// out[row[i], :] += sum of its shares [first[i], first[i + 1]) of slots, in that order.
struct combine_args {
  const float* slots = nullptr; ///< [.., cols]
  const share* shares = nullptr;
  const uint32_t* first = nullptr;
  const uint32_t* row = nullptr;
  float* out = nullptr;
  uint32_t rows = 0;
  uint32_t cols = 0;
};

/// Addresses of one expert's matrices.
struct expert_address {
  const std::byte* gate = nullptr;
  const std::byte* up = nullptr;
  const std::byte* down = nullptr;
};

/// Tasks for what a router chose: picks [rows, top_k] become one task an expert for each of its
/// matrices, by rising id, of which there are at most `groups`; the rest gets no rows. Input rows
/// and slots are dense, in the order of the tasks.
struct choose_args {
  const int32_t* ids = nullptr;   ///< [rows, top_k]
  const float* weights = nullptr; ///< [rows, top_k]
  const expert_address* experts = nullptr;
  const matrix_task* like = nullptr; ///< gate, up, down: all but weight, x_rows, first_x, count,
                                     ///< and `out` of slot 0
  matrix_task* tasks = nullptr;      ///< [3, groups]
  uint32_t* x_rows = nullptr;        ///< [rows * top_k]
  share* shares = nullptr;           ///< [rows, top_k], by rising id
  uint32_t rows = 0;
  uint32_t top_k = 0;
  uint32_t groups = 0;
  uint32_t of_layer = 0; ///< experts in the table
};

struct norm_args {
  const float* in = nullptr;
  const float* gain = nullptr;
  float* out = nullptr;
  uint32_t rows = 0;
  uint32_t cols = 0;
  float eps = 0;
};

struct route_args {
  const float* logits = nullptr; ///< [rows, experts]
  int32_t* ids = nullptr;        ///< [rows, top_k]
  float* weights = nullptr;      ///< [rows, top_k]
  uint32_t rows = 0;
  uint32_t experts = 0;
  uint32_t top_k = 0;
  uint32_t renormalise = 0;
};

struct embed_args {
  const std::byte* table = nullptr; ///< rows as the file has them
  uint64_t row_bytes = 0;
  const int32_t* tokens = nullptr;
  float* out = nullptr;
  uint32_t rows = 0;
  uint32_t cols = 0;
  dtype type = dtype::f32;
};

struct gather_args {
  const float* in = nullptr;
  const uint32_t* rows_in = nullptr;
  float* out = nullptr;
  uint32_t rows = 0;
  uint32_t cols = 0;
};

/// Over all elements: sigmoid, add.
struct elements_args {
  const float* in = nullptr;
  float* out = nullptr;
  uint64_t count = 0;
};

/// The pages of a cache: [page][layer][kv head]{K [page_tokens, head_dim], V the same}, f16.
struct kv_view {
  uint16_t* base = nullptr;
  uint32_t layers = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t page_tokens = 0;
};

/// One row of a batch as attention sees it.
struct attend_row {
  const float* angles = nullptr;   ///< dims / 2 cosines, then as many sines; null: no rotation
  const uint32_t* pages = nullptr; ///< of its session
  uint32_t row = 0;
  uint32_t position = 0;
};

struct rotate_args {
  float* q = nullptr;
  float* k = nullptr;
  const float* v = nullptr;
  const attend_row* table = nullptr;
  kv_view cache;
  uint32_t rows = 0; ///< of the table
  uint32_t layer = 0;
  uint32_t heads = 0;
  uint32_t dims = 0; ///< rotated ones
  uint32_t interleaved = 0;
};

/// Some rows of one session, consecutive in the table.
struct attend_tile {
  uint32_t first = 0;
  uint32_t rows = 0;
  uint32_t first_part = 0; ///< row of attend_args::parts
};

struct attend_args {
  const float* q = nullptr;
  float* out = nullptr;
  const attend_row* table = nullptr;
  const attend_tile* tiles = nullptr; ///< by block y
  float* parts = nullptr;             ///< [.., heads, splits, head_dim + 2]; null: whole histories
  kv_view cache;
  uint32_t layer = 0;
  uint32_t heads = 0;
  uint32_t group = 0;  ///< heads of a block: those of one key head, or a part of them
  uint32_t splits = 0; ///< with parts: blocks in z, each one split of the history
  float scale = 0;
};

struct join_args {
  const float* parts = nullptr;   ///< as attend_args
  const uint32_t* rows = nullptr; ///< of the table, by row of parts
  const attend_row* table = nullptr;
  float* out = nullptr;
  uint32_t heads = 0;
  uint32_t head_dim = 0;
  uint32_t splits = 0;
};

} // namespace coel::gpu
