// What a Hugging Face directory's JSON files say: the configuration and the list of shards.
#pragma once

#include "common/result.hpp"
#include "model/config.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace coel::model {

/// config.json as a configuration, without the name. Errors: bad_file (the message names the key),
/// unsupported (what the layer graph would compute wrongly).
result<model_config> hf_config(const nlohmann::json& config);

/// The shards that model.safetensors.index.json names, each once, sorted. Errors: bad_file (no such
/// list, or a name that is not a plain file name).
result<std::vector<std::string>> hf_shards(const nlohmann::json& index);

} // namespace coel::model
