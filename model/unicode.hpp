// UTF-8, as RFC 3629 defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace coel::model {

/// Length of the valid character that `text` begins with, 1..4; 0 if there is none.
size_t utf8_length(std::string_view text);

/// Bytes at the end of `text` that more bytes could complete to a character, 0..3.
size_t incomplete_utf8_tail(std::string_view text);

/// Each maximal broken part becomes one U+FFFD (Unicode 15, section 3.9, table 3-8).
std::string replace_invalid_utf8(std::string_view text);

/// Code point of the valid character that `text` begins with.
uint32_t utf8_decode(std::string_view text);

void append_utf8(std::string& out, uint32_t code_point);

} // namespace coel::model
