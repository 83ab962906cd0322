// A device's layout of matrices as bytes that a file may keep, and that run where they lie once
// they are in the device's memory again.
#pragma once

#include "common/result.hpp"
#include "compute/matrix.hpp"

#include <string_view>

namespace coel::compute {

class buffer;
class device;
class weight;

class kept_layout {
 public:
  virtual ~kept_layout() = default;

  /// What the bytes mean: another name with every change of them. Without spaces.
  virtual std::string_view name() const = 0;
  /// Of such a matrix; its data are not looked at.
  virtual uint64_t bytes(const matrix_view& of) const = 0;
  /// Into bytes(from) bytes at `to`, which is aligned to `alignment`. Thread-safe; takes a while.
  virtual void arrange(const matrix_view& from, std::byte* to) const = 0;
  /// What arrange() once wrote, at `offset` of memory that device::allocate gave (whole pages of 4
  /// KiB begin on one): a weight for project and run_experts, which keeps that memory. Nothing is
  /// copied.
  /// Errors: bad_argument (outside the memory, not aligned), unsupported (type or shape).
  virtual result<std::shared_ptr<const weight>> adopt(const matrix_view& of,
                                                      std::shared_ptr<buffer> memory,
                                                      uint64_t offset) const = 0;

  static constexpr uint64_t alignment = 64;
};

/// A device that has one is this too.
class keeps_layout {
 public:
  virtual ~keeps_layout() = default;
  /// Null: what it loads is kept in no file.
  virtual const kept_layout* layout() const = 0;
};

/// Null: that device has none.
const kept_layout* layout_of(const device& dev);

} // namespace coel::compute
