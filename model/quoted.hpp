// Text from a file inside a message: files are hostile, terminals and JSON writers are not ready
// for that.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace coel::model {

/// Control characters and broken UTF-8 become '?'; what exceeds `most` bytes becomes "...".
std::string printable(std::string_view text, size_t most = 100);

/// printable() between quotes.
std::string in_quotes(std::string_view text);

} // namespace coel::model
