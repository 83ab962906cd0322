// One small model of each family that CoEL runs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace coel::testing {

/// Where weights are quantised, so are activations: a difference in the last bit of a sum may move
/// a value to the next step. The tolerance is well inside that of the fixtures.
struct family {
  std::string name;
  double tolerance;

  /// It may not be there: other people's vocabularies are not shipped.
  std::filesystem::path file() const {
    auto here = std::filesystem::path(COEL_SOURCE_DIR) / "tests/golden/data" / name;
    return std::filesystem::exists(here)
               ? here
               : std::filesystem::path(COEL_SHARED_DIR) / "fixtures" / name;
  }
};

inline const std::vector<family> families{
    {"../../../models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf", 0.02},
    {"nano-random-qwen2moe-f16.gguf", 1e-4},
    {"nano-random-qwen2moe-q4_0.gguf", 0.02},
    {"nano-random-qwen3moe-f16.gguf", 1e-4},
    {"nano-random-mixtral-f16.gguf", 1e-4},
    {"nano-random-olmoe-f16.gguf", 1e-4},
    {"k256-random-qwen2moe-q4_k_m.gguf", 0.02}};

} // namespace coel::testing
