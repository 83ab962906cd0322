#include "gpu/angles.hpp"

#include "compute/rope_angles.hpp"

namespace coel::gpu {

angle_tables::table& angle_tables::table_of(const compute::rope_params& params) {
  for (auto& t : tables_)
    if (compute::same_angles(t.params, params))
      return t;
  return tables_.emplace_back(table{params, {}});
}

bool angle_tables::fill(chunk& c, const compute::rope_params& params, uint32_t first) {
  c.values.resize(size_t{chunk_positions} * params.dims);
  for (uint32_t i = 0; i < chunk_positions; ++i)
    compute::fill_angles(params, first + i, c.values.data() + size_t{i} * params.dims);
  auto memory = memory_->make(c.values.size() * sizeof(float), "angles");
  if (!memory ||
      !memory_->on().copy(lane::compute, memory->data(), c.values.data(), memory->size()).ok())
    return false;
  c.memory = std::move(*memory);
  return true;
}

const float* angle_tables::at(const compute::rope_params& params, uint32_t position) {
  table& t = table_of(params);
  uint32_t index = position / chunk_positions;
  if (index >= t.chunks.size())
    t.chunks.resize(index + 1);
  chunk& c = t.chunks[index];
  if (!c.memory.data() && !fill(c, params, index * chunk_positions))
    return nullptr;
  return reinterpret_cast<const float*>(c.memory.data()) +
         size_t{position % chunk_positions} * params.dims;
}

} // namespace coel::gpu
