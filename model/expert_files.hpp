// The routed experts of a model in its files: where to read each, and what was read made an expert.
#pragma once

#include "model/direct_file.hpp"
#include "model/read_queue.hpp"
#include "model/weights.hpp"

namespace coel::model {

class expert_files {
 public:
  /// Opens the model's files for direct reads. Errors: io, bad_file (a file is no longer the one
  /// that the source was opened from).
  static result<expert_files> open(const source_ptr& from, direct_file::writes allowed);

  /// Gate, up and down of a routed expert. Errors: bad_file (no such expert).
  result<std::vector<file_piece>> pieces(expert_key key) const;

  /// The largest expert as it is read, with what alignment adds.
  uint64_t largest_read() const { return largest_read_; }
  /// Of one matrix.
  uint64_t largest_piece() const { return largest_piece_; }
  /// Of one expert, in a device's layout: never less than it will take.
  uint64_t resident_bytes(expert_key key) const { return resident_[slot(key)]; }
  const std::vector<uint64_t>& resident_bytes() const { return resident_; } ///< [layers, experts]
  uint64_t largest_resident() const { return largest_resident_; }
  uint64_t all_resident() const { return all_resident_; }

  /// One of an expert's matrices of its bytes, as they came from a reader. Errors: those of
  /// device::load.
  result<compute::weight_ptr> make_piece(compute::device& on, expert_key key, uint32_t piece,
                                         std::span<const std::byte> bytes) const;
  /// The matrix over these bytes. Errors: internal (they are not those of the matrix).
  result<compute::matrix_view> view_of(expert_key key, uint32_t piece,
                                       std::span<const std::byte> bytes) const;

 private:
  explicit expert_files(source_ptr from) : source_(std::move(from)) {}
  size_t slot(expert_key key) const {
    return size_t{index(key.layer)} * source_->config().experts + index(key.expert);
  }
  source_ptr source_;
  std::vector<direct_file_ptr> files_;
  std::vector<uint64_t> resident_; // [layers, experts]
  uint64_t largest_piece_ = 0, largest_read_ = 0, largest_resident_ = 0, all_resident_ = 0;
};

/// Gate, up and down together.
std::shared_ptr<compute::expert_weights> expert_of(const std::vector<compute::weight_ptr>& pieces);

} // namespace coel::model
