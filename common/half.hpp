// IEEE half precision (f16) in memory or in a message, at any alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace coel {

/// Rounds to nearest even; what is 65520 or more becomes an infinity. Writes 2 * in.size() bytes.
void to_half(std::span<const float> in, std::byte* out);

/// Exact. Reads 2 * out.size() bytes.
void from_half(const std::byte* in, std::span<float> out);

} // namespace coel
