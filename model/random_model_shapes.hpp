// Shapes of public models, as data, and small ones of every family for tests.
#pragma once

#include "model/config.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace coel::model {

/// Configuration of a named shape ("qwen1.5-moe-a2.7b", in either case); nullopt if unknown.
std::optional<model_config> shape_by_name(std::string_view name);

/// All names, for messages: "qwen1.5-moe-a2.7b, qwen3-30b-a3b, ...".
std::string known_shapes();

} // namespace coel::model
