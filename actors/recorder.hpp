// RECORDER actor: appends recorded routing to a file (format: docs/formats.md).
#pragma once

#include "actors/interfaces.hpp"
#include "common/result.hpp"
#include "policy/routing_stats.hpp"

#include <filesystem>
#include <fstream>

namespace coel::actors {

/// Opens a routing file and writes its header: "COELROUT", u32 version, layers, experts, top_k, all
/// little-endian; then u16 experts by token, layer and rank. Errors: io.
result<std::shared_ptr<std::ofstream>> open_routing_file(const std::filesystem::path& path,
                                                         const policy::routing_shape& shape);

recorder_actor::behavior_type recorder(recorder_actor::pointer self,
                                       std::shared_ptr<std::ofstream> file);

} // namespace coel::actors
