// `coel model FILE`: what a model file is, and what running it will take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace coel::app {

struct model_options {
  std::filesystem::path file;
  bool json = false;
  uint64_t ram_bytes = 0; ///< also forecasts the speed with that budget; 0: does not
  uint64_t gpu_bytes = 0; ///< instead: what lies on a card and what beside it; 0: there is none
  uint32_t threads = 0;   ///< of the forecast; 0: one per core
};

/// Exit code: 0 done; 1 the file is no model that CoEL runs, with the reason on standard error.
int cmd_model(const model_options& o);

} // namespace coel::app
