// Routed experts in a type of fewer bits than the model's files have them in: an answer, though not
// the same one, while the expert itself would have to be read.
#pragma once

#include "compute/device.hpp"
#include "model/source.hpp"

#include <optional>
#include <span>
#include <vector>

namespace coel::model {

class lower_experts {
 public:
  /// `asked`: that type, where a matrix has more bits; none: of floats q8_0, of others q4_0. None
  /// if a copy would save too little of an expert's bytes to be worth its errors.
  static std::optional<lower_experts> of(const source_ptr& from, std::optional<dtype> asked);

  dtype type() const { return type_; } ///< of what was lowered
  /// [layers, experts]: of a copy, never less than it will take.
  const std::vector<uint64_t>& resident_bytes() const { return bytes_; }
  /// Of a copy while it is made: what is read of one matrix, and the same in fewer bits.
  uint64_t work_bytes() const { return work_bytes_; }
  uint64_t read_bytes() const { return read_bytes_; } ///< of these, to read into: whole pages

  /// One of an expert's matrices (gate, up, down) of its bytes in the file. Takes a while. Errors:
  /// internal (not its bytes), those of device::load.
  result<compute::weight_ptr> make_piece(compute::device& on, expert_key key, uint32_t piece,
                                         std::span<const std::byte> bytes) const;

 private:
  lower_experts(source_ptr from, std::optional<dtype> asked)
      : source_(std::move(from)), asked_(asked) {}
  bool take_sizes();

  source_ptr source_;
  std::optional<dtype> asked_;
  dtype type_ = dtype::q8_0;
  std::vector<uint64_t> bytes_;
  uint64_t work_bytes_ = 0, read_bytes_ = 0;
};

} // namespace coel::model
