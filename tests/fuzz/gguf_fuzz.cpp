// Opens the bytes as a GGUF model. What is accepted must be readable to the last byte.
#include "compute/quant.hpp"
#include "model/describe.hpp"
#include "model/family.hpp"
#include "tests/fuzz/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace coel;
  fuzz::memory_file file(data, size);
  auto source = model::open_model(file.path());
  if (!source) {
    fuzz::require(!source.err().message.empty());
    return 0;
  }
  for (const auto& key : model::required_tensors((*source)->config())) {
    auto matrix = (*source)->matrix(key);
    fuzz::require(matrix.ok());
    compute::to_f32(*matrix);
  }
  fuzz::require(!model::describe(**source, 1 << 30).empty());
  return 0;
}
