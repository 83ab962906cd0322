#include "cpu/rope.hpp"

#include "compute/rope_angles.hpp"

namespace coel::cpu {

void rotate(float* head, const compute::rope_params& params, const float* angles) {
  uint32_t half = params.dims / 2;
  bool interleaved = params.style == compute::rope_style::interleaved;
  uint32_t step = interleaved ? 2 : 1;
  uint32_t partner = interleaved ? 1 : half;
  for (uint32_t i = 0; i < half; ++i) {
    float& a = head[i * step];
    float& b = head[i * step + partner];
    float x = a;
    float y = b;
    a = x * angles[i] - y * angles[half + i];
    b = x * angles[half + i] + y * angles[i];
  }
}

rope_tables::table& rope_tables::table_of(const compute::rope_params& params) {
  for (auto& t : tables_)
    if (compute::same_angles(t.params, params))
      return t;
  return tables_.emplace_back(table{params, {}});
}

const float* rope_tables::at(const compute::rope_params& params, uint32_t position) {
  std::lock_guard lock(mutex_);
  table& t = table_of(params);
  uint32_t index = position / chunk_positions;
  if (index >= t.chunks.size())
    t.chunks.resize(index + 1);
  auto& chunk = t.chunks[index];
  if (!chunk) {
    chunk = std::make_unique<float[]>(size_t{chunk_positions} * params.dims);
    for (uint32_t i = 0; i < chunk_positions; ++i)
      compute::fill_angles(params, index * chunk_positions + i,
                           chunk.get() + size_t{i} * params.dims);
  }
  return chunk.get() + size_t{position % chunk_positions} * params.dims;
}

} // namespace coel::cpu
