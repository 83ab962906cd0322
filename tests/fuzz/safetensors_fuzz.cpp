// Reads the bytes as a safetensors file. What is accepted must be readable to the last byte.
#include "compute/quant.hpp"
#include "model/safetensors.hpp"
#include "tests/fuzz/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace coel;
  fuzz::memory_file bytes(data, size);
  auto file = model::mapped_file::open(bytes.path());
  if (!file)
    return 0;
  model::tensor_map found;
  if (!model::read_safetensors(*file, found))
    return 0;
  for (const auto& [name, matrix] : found.tensors)
    compute::to_f32(matrix);
  return 0;
}
