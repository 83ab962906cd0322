// Text that leaves or enters by a socket is UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace coel::net {

/// True if `text` is well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no surrogates).
bool is_utf8(std::string_view text);

/// Each byte that does not belong to a well-formed character becomes U+FFFD.
std::string repaired_utf8(std::string_view text);

} // namespace coel::net
