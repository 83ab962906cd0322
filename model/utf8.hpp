// UTF-8 by hand where a library would need whole, valid strings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace coel::model {

/// Length of the well-formed character that begins at s[at]; 0 if there is none (an invalid byte,
/// or a character that is cut off by the end: then `cut` is set).
size_t utf8_length(std::string_view s, size_t at, bool* cut = nullptr);

void append_utf8(std::string& to, uint32_t code_point);

/// The code point at s[at], which begins a well-formed character.
uint32_t utf8_code_point(std::string_view s, size_t at);

} // namespace coel::model
