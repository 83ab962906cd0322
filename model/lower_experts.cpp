#include "model/lower_experts.hpp"

#include "compute/quant.hpp"
#include "model/direct_file.hpp"
#include "model/memory_needs.hpp"

#include <algorithm>
#include <array>

namespace coel::model {

namespace {

constexpr std::array matrices{role::expert_gate, role::expert_up, role::expert_down};
/// Of an expert's bytes: a copy that takes more is not worth what it gets wrong.
constexpr double most_of_bytes = 0.75;

double bits(dtype type) {
  return 8.0 * info(type).block_bytes / info(type).block_elements;
}

/// The same type: it is not lowered.
dtype lowered(const compute::matrix_view& of, std::optional<dtype> asked) {
  auto to = asked ? *asked : is_quantised(of.type) ? dtype::q4_0 : dtype::q8_0;
  bool whole_blocks = of.cols % info(to).block_elements == 0;
  return whole_blocks && bits(to) < bits(of.type) ? to : of.type;
}

compute::matrix_view as(compute::matrix_view view, dtype type) {
  view.type = type;
  view.stride_bytes = row_bytes(type, view.cols);
  view.data = nullptr;
  view.owner = nullptr;
  return view;
}

} // namespace

std::optional<lower_experts> lower_experts::of(const source_ptr& from, std::optional<dtype> asked) {
  lower_experts made(from, asked);
  if (!made.take_sizes())
    return {};
  return made;
}

bool lower_experts::take_sizes() {
  const auto& c = source_->config();
  double exact = 0, lower = 0;
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e) {
      uint64_t copy = 0;
      for (auto what : matrices) {
        auto view = source_->matrix({what, static_cast<layer_id>(l), static_cast<expert_id>(e)});
        if (!view)
          return false;
        auto to = as(*view, lowered(*view, asked_));
        type_ = to.type != view->type ? to.type : type_;
        copy += resident_bound(to);
        exact += static_cast<double>(view->bytes());
        lower += static_cast<double>(to.bytes());
        constexpr auto page = direct_file::alignment;
        auto read = (view->bytes() + 2 * page - 1) / page * page;
        read_bytes_ = std::max(read_bytes_, read);
        work_bytes_ = std::max(work_bytes_, to.bytes() + 4 * view->cols);
      }
      bytes_.push_back(copy);
    }
  work_bytes_ += read_bytes_;
  return lower <= most_of_bytes * exact;
}

result<compute::weight_ptr> lower_experts::make_piece(compute::device& on, expert_key key,
                                                      uint32_t piece,
                                                      std::span<const std::byte> bytes) const {
  if (piece >= matrices.size())
    return {ec::internal, "an expert has no such matrix"};
  auto view = source_->matrix({matrices[piece], key.layer, key.expert});
  if (!view)
    return view.err();
  if (bytes.size() != view->bytes())
    return {ec::internal, "an expert's bytes are not those of its matrix"};
  auto to = as(*view, lowered(*view, asked_));
  if (to.type == view->type) {
    to.data = bytes.data();
    return on.load(to, compute::weight_use::far_expert);
  }
  std::vector<std::byte> made(to.bytes());
  std::vector<float> row(view->cols);
  auto from_row = row_bytes(view->type, view->cols);
  for (uint64_t r = 0; r < view->rows; ++r) {
    compute::dequantise_row(view->type, bytes.data() + r * from_row, row.data(), view->cols);
    compute::quantise_row(to.type, row.data(), made.data() + r * to.stride_bytes, view->cols);
  }
  to.data = made.data(); // the device copies
  return on.load(to, compute::weight_use::far_expert);
}

} // namespace coel::model
