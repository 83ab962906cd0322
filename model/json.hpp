// JSON files as values: nlohmann's parser behind result<T>.
#pragma once

#include "common/result.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string_view>

namespace coel::model {

/// Errors: bad_file, naming `where` and the byte at which the text is wrong; also for a key that an
/// object has twice, and for deeper nesting or more values than any model file has.
result<nlohmann::json> parse_json(std::string_view text, const std::string& where);

/// Reads a whole file of at most `most_bytes`. Errors: io, bad_file.
result<nlohmann::json> read_json(const std::filesystem::path& path,
                                 uint64_t most_bytes = 64u << 20);

} // namespace coel::model
