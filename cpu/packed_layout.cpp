// The panels of packed.hpp in files.
#include "compute/kept_layout.hpp"

#include "compute/check.hpp"
#include "cpu/packed.hpp"
#include "cpu/packed_set.hpp"

namespace coel::cpu {

namespace {

class panel_layout : public compute::kept_layout {
 public:
  /// The number rises with every change of what packed.hpp describes.
  std::string_view name() const override { return "panels16-1"; }

  uint64_t bytes(const compute::matrix_view& of) const override { return packed_bytes(of); }

  void arrange(const compute::matrix_view& from, std::byte* to) const override { pack(from, to); }

  result<compute::weight_ptr> adopt(const compute::matrix_view& of, compute::buffer_ptr memory,
                                    uint64_t offset) const override {
    auto shape = of;
    shape.data = memory->data();
    if (auto fine = compute::check(shape); !fine.ok())
      return fine.err();
    auto size = packed_bytes(of);
    if (offset % alignment != 0 || size > memory->size_bytes() ||
        offset > memory->size_bytes() - size)
      return {ec::bad_argument, "a matrix of " + std::to_string(size) + " bytes at " +
                                    std::to_string(offset) + " is not in memory of " +
                                    std::to_string(memory->size_bytes())};
    const auto* at = memory->data() + offset;
    return compute::weight_ptr(packed_weight::over(of, at, std::move(memory)));
  }
};

} // namespace

const compute::kept_layout* packed_set::layout() const {
  static const panel_layout panels;
  return &panels;
}

} // namespace coel::cpu
