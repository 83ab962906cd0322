// What a GPU device hands out: buffers, matrices in panels or rows, and the paged KV cache.
#pragma once

#include "compute/device.hpp"
#include "gpu/args.hpp"
#include "gpu/pool.hpp"

namespace coel::gpu {

/// Memory of the card, or of the host that both see.
class card_buffer : public compute::buffer {
 public:
  explicit card_buffer(block memory) : memory_(std::move(memory)) {}
  std::byte* data() const override { return memory_.data(); }
  size_t size_bytes() const override { return memory_.size(); }

 private:
  block memory_;
};

/// For projections: panels (quantised types) or padded rows; for look-up: rows as the file has
/// them.
class card_weight : public compute::weight {
 public:
  card_weight(const compute::matrix_view& from, compute::weight_use use, uint64_t row_bytes,
              block memory, const memory_pool* owner)
      : memory_(std::move(memory)), owner_(owner), row_bytes_(row_bytes),
        rows_(static_cast<uint32_t>(from.rows)), cols_(static_cast<uint32_t>(from.cols)),
        type_(from.type), use_(use) {}

  dtype type() const override { return type_; }
  uint32_t rows() const override { return rows_; }
  uint32_t cols() const override { return cols_; }
  size_t resident_bytes() const override { return memory_.size(); }

  const std::byte* data() const { return memory_.data(); }
  uint64_t row_bytes() const { return row_bytes_; } ///< of a panel or a row
  compute::weight_use use() const { return use_; }
  const memory_pool* owner() const { return owner_; } ///< only compared

 private:
  block memory_;
  const memory_pool* owner_;
  uint64_t row_bytes_;
  uint32_t rows_;
  uint32_t cols_;
  dtype type_;
  compute::weight_use use_;
};

class card_kv : public compute::kv_cache {
 public:
  card_kv(const compute::kv_shape& shape, block memory, const memory_pool* owner)
      : shape_(shape), memory_(std::move(memory)), owner_(owner) {}

  const compute::kv_shape& shape() const override { return shape_; }
  kv_view view() const {
    return {reinterpret_cast<uint16_t*>(memory_.data()), shape_.layers, shape_.kv_heads,
            shape_.head_dim, shape_.page_tokens};
  }
  const memory_pool* owner() const { return owner_; }

 private:
  compute::kv_shape shape_;
  block memory_;
  const memory_pool* owner_;
};

} // namespace coel::gpu
