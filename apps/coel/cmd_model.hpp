// `coel model FILE`: what a model file is, and what running it will take.
#pragma once

#include <filesystem>

namespace coel::app {

/// Exit code: 0 done; 1 the file is no model that CoEL runs, with the reason on standard error.
int cmd_model(const std::filesystem::path& file, bool json);

} // namespace coel::app
