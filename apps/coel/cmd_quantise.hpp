// `coel quantise IN OUT --type T`: a model rewritten as GGUF in another precision.
#pragma once

#include "common/dtype.hpp"

#include <cstdint>
#include <filesystem>

namespace coel::app {

struct quantise_options {
  std::filesystem::path in;  ///< GGUF file or Hugging Face directory
  std::filesystem::path out; ///< GGUF file; replaced only when the new one is whole
  dtype type = dtype::q8_0;
  uint32_t threads = 0; ///< 0: one per core
};

/// Exit code: 0 done; 1 failed, with the reason on standard error.
int cmd_quantise(const quantise_options& options);

} // namespace coel::app
