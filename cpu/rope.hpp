// Rotary position embedding (Su et al., RoFormer, 2021): cosines and sines by position.
#pragma once

#include "compute/ops.hpp"

#include <memory>
#include <mutex>
#include <vector>

namespace coel::cpu {

/// Rotates one head in place. `angles`: dims / 2 cosines, then dims / 2 sines.
void rotate(float* head, const compute::rope_params& params, const float* angles);

/// Angles of every position asked for so far, of every parameter set; thread-safe. Rows stay where
/// they are as long as the object lives.
class rope_tables {
 public:
  /// Row of `position`: dims / 2 cosines, then dims / 2 sines.
  const float* at(const compute::rope_params& params, uint32_t position);

 private:
  static constexpr uint32_t chunk_positions = 64;
  struct table {
    compute::rope_params params;
    std::vector<std::unique_ptr<float[]>> chunks; // null until needed
  };
  table& table_of(const compute::rope_params& params);

  std::mutex mutex_;
  std::vector<table> tables_;
};

} // namespace coel::cpu
