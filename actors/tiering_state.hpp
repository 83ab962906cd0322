// What a predictor has learnt, on disk between runs: whole or not at all.
#pragma once

#include "common/result.hpp"

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

namespace coel::actors {

/// Errors: io, bad_file (larger than any predictor).
result<std::vector<std::byte>> read_state(const std::filesystem::path& path);

/// Replaces the file at once, so that a crash leaves the one or the other. Nothing is written where
/// the path is empty. Errors: io.
result<void> write_state(const std::filesystem::path& path, std::span<const std::byte> bytes);

} // namespace coel::actors
