// Cosines and sines of rotary embedding (Su et al., RoFormer, 2021) on the card, by position:
// computed once on the host in double, so that they are the CPU's.
#pragma once

#include "compute/ops.hpp"
#include "gpu/pool.hpp"

#include <vector>

namespace coel::gpu {

/// Not thread-safe; rows stay where they are as long as the object lives.
class angle_tables {
 public:
  explicit angle_tables(std::shared_ptr<memory_pool> memory) : memory_(std::move(memory)) {}

  /// dims / 2 cosines, then dims / 2 sines, on the card before any later work of the compute lane;
  /// null: no memory.
  const float* at(const compute::rope_params& params, uint32_t position);

 private:
  static constexpr uint32_t chunk_positions = 64;
  struct chunk {
    block memory; // empty until needed
    std::vector<float> values;
  };
  struct table {
    compute::rope_params params;
    std::vector<chunk> chunks;
  };
  table& table_of(const compute::rope_params& params);
  bool fill(chunk& c, const compute::rope_params& params, uint32_t first);

  std::shared_ptr<memory_pool> memory_;
  std::vector<table> tables_;
};

} // namespace coel::gpu
