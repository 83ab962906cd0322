// Reads the bytes as model.safetensors.index.json. No accepted name leaves the directory.
#include "model/hf_config.hpp"
#include "model/json.hpp"
#include "tests/fuzz/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace coel;
  auto parsed = model::parse_json({reinterpret_cast<const char*>(data), size}, "index.json");
  if (!parsed)
    return 0;
  auto names = model::hf_shards(*parsed);
  if (!names)
    return 0;
  std::filesystem::path directory("/models/one");
  for (const auto& name : *names)
    fuzz::require((directory / name).lexically_normal().parent_path() == directory);
  return 0;
}
