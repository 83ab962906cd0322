// Memory of a fixed size that reads from disk land in: slots, each as large as the largest read.
#pragma once

#include "common/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace coel::model {

class staging_ring {
 public:
  /// Slots are rounded up to a page. Errors: out_of_memory, bad_argument (no slot, no bytes).
  static result<std::shared_ptr<const staging_ring>> make(uint64_t slot_bytes, uint32_t slots);
  ~staging_ring();
  staging_ring(const staging_ring&) = delete;
  staging_ring& operator=(const staging_ring&) = delete;

  std::byte* slot(uint32_t i) const { return base_ + uint64_t{i} * slot_bytes_; }
  uint64_t slot_bytes() const { return slot_bytes_; }
  uint32_t slots() const { return slots_; }
  uint64_t bytes() const { return slot_bytes_ * slots_; }

 private:
  staging_ring(std::byte* base, uint64_t slot_bytes, uint32_t slots)
      : base_(base), slot_bytes_(slot_bytes), slots_(slots) {}
  std::byte* base_;
  uint64_t slot_bytes_;
  uint32_t slots_;
};
using staging_ring_ptr = std::shared_ptr<const staging_ring>;

} // namespace coel::model
