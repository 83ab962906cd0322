// Text and token ids that people give on a command line or on standard input.
#pragma once

#include "common/result.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace coel::app {

/// The words with blanks between, or all of standard input if there are none.
std::string text_or_input(const std::vector<std::string>& words);

/// Token ids separated by blanks or commas, brackets allowed: a JSON array will do.
/// Errors: bad_argument.
result<std::vector<int32_t>> parse_ids(const std::string& text);

} // namespace coel::app
