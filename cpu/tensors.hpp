// What a CPU device hands out: buffers, matrices in their file's layout, and the paged KV cache.
#pragma once

#include "compute/device.hpp"
#include "cpu/memory.hpp"

namespace coel::cpu {

class plain_buffer : public compute::buffer {
 public:
  explicit plain_buffer(block memory) : memory_(std::move(memory)) {}
  std::byte* data() const override { return memory_.data(); }
  size_t size_bytes() const override { return memory_.size(); }

 private:
  block memory_;
};

/// A matrix as its file has it: read in place while its owner lives, else copied.
class view_weight : public compute::weight {
 public:
  static result<std::shared_ptr<const view_weight>> make(const compute::matrix_view& matrix,
                                                         const budget_ptr& from);

  dtype type() const override { return view_.type; }
  uint32_t rows() const override { return static_cast<uint32_t>(view_.rows); }
  uint32_t cols() const override { return static_cast<uint32_t>(view_.cols); }
  size_t resident_bytes() const override { return copy_.size(); }

  const compute::matrix_view& view() const { return view_; }

 private:
  compute::matrix_view view_;
  block copy_;
};

/// Pages of keys and values in f16. Inside a page: layer, kv head, keys then values. Keys lie
/// transposed, [head_dim, page_tokens], so that the scores of 16 tokens fill a vector without a
/// sum across it; values lie [page_tokens, head_dim].
class paged_kv : public compute::kv_cache {
 public:
  static constexpr uint32_t token_multiple = 16;

  paged_kv(const compute::kv_shape& shape, block memory)
      : shape_(shape), memory_(std::move(memory)) {}

  const compute::kv_shape& shape() const override { return shape_; }

  uint16_t* keys(uint32_t page, uint32_t layer, uint32_t kv_head) const {
    size_t head = size_t{shape_.head_dim} * shape_.page_tokens;
    size_t index = (size_t{page} * shape_.layers + layer) * shape_.kv_heads + kv_head;
    return reinterpret_cast<uint16_t*>(memory_.data()) + 2 * head * index;
  }
  uint16_t* values(uint32_t page, uint32_t layer, uint32_t kv_head) const {
    return keys(page, layer, kv_head) + size_t{shape_.head_dim} * shape_.page_tokens;
  }

 private:
  compute::kv_shape shape_;
  block memory_;
};

} // namespace coel::cpu
