#include "model/manifest_sha256.hpp"

#include <cstdlib>
#include <openssl/evp.h>

namespace coel::model {

namespace {
constexpr std::string_view digits = "0123456789abcdef";
}

sha256 sha256_of(std::span<const std::byte> bytes) {
  sha256 digest{};
  unsigned int length = 0;
  auto* out = reinterpret_cast<unsigned char*>(digest.data());
  int ok = EVP_Digest(bytes.data(), bytes.size(), out, &length, EVP_sha256(), nullptr);
  // Only a library without SHA-256 fails here; a digest of zeros must not pass for a real one.
  if (ok != 1 || length != digest.size())
    std::abort();
  return digest;
}

std::string to_hex(const sha256& digest) {
  std::string hex;
  for (auto b : digest) {
    auto v = std::to_integer<unsigned>(b);
    hex += digits[v >> 4];
    hex += digits[v & 15];
  }
  return hex;
}

std::optional<sha256> sha256_from_hex(std::string_view hex) {
  sha256 digest{};
  if (hex.size() != 2 * digest.size())
    return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    auto high = digits.find(hex[2 * i]), low = digits.find(hex[2 * i + 1]);
    if (high == digits.npos || low == digits.npos)
      return std::nullopt;
    digest[i] = static_cast<std::byte>(high << 4 | low);
  }
  return digest;
}

} // namespace coel::model
