// SHA-256 by OpenSSL, which uses the processor's SHA instructions where there are any.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace coel::model {

using sha256 = std::array<std::byte, 32>;

/// Thread-safe.
sha256 sha256_of(std::span<const std::byte> bytes);

std::string to_hex(const sha256& digest);
/// nullopt unless it is 64 digits as to_hex writes them.
std::optional<sha256> sha256_from_hex(std::string_view hex);

} // namespace coel::model
