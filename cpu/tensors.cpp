#include "cpu/tensors.hpp"

#include <cstring>

namespace coel::cpu {

result<std::shared_ptr<const view_weight>> view_weight::make(const compute::matrix_view& matrix,
                                                             const budget_ptr& from) {
  auto made = std::make_shared<view_weight>();
  made->view_ = matrix;
  if (matrix.owner)
    return std::shared_ptr<const view_weight>(made);
  auto copy = block::make(matrix.bytes(), "weight", from);
  if (!copy.ok())
    return copy.err();
  uint64_t stride = row_bytes(matrix.type, matrix.cols);
  for (uint64_t r = 0; r < matrix.rows; ++r)
    std::memcpy(copy->data() + r * stride, matrix.row(r), stride);
  made->copy_ = std::move(*copy);
  made->view_.data = made->copy_.data();
  made->view_.stride_bytes = stride;
  return std::shared_ptr<const view_weight>(made);
}

} // namespace coel::cpu
