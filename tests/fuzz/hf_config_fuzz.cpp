// Reads the bytes as config.json. What check() accepts is within the limits that callers rely on.
#include "model/family.hpp"
#include "model/hf_config.hpp"
#include "model/json.hpp"
#include "tests/fuzz/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace coel;
  auto parsed = model::parse_json({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!parsed)
    return 0;
  auto config = model::hf_config(*parsed);
  if (!config || !model::check(*config))
    return 0;
  for (const auto& key : model::required_tensors(*config)) {
    auto shape = model::required_shape(*config, key.what);
    fuzz::require(shape && shape->rows > 0 && shape->cols > 0);
    fuzz::require(shape->rows <= UINT64_MAX / 4 / shape->cols);
  }
  return 0;
}
