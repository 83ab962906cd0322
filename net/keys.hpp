// CURVE keys of nodes and clients (RFC 26/CurveZMQ): how they are made and kept in files.
#pragma once

#include "common/result.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace coel::net {

/// Keys are 32 bytes, written in Z85 (ZeroMQ RFC 32): 40 characters.
inline constexpr size_t key_chars = 40;

struct key_pair {
  std::string public_key;
  std::string secret_key;
};

/// Errors: unsupported (libzmq without CURVE).
result<key_pair> generate_keys();

/// Errors: bad_argument, naming `what`.
result<void> check_key(std::string_view key, std::string_view what);

/// Writes `file` (both keys, mode 0600) and `file`.pub (for the other side). Never overwrites.
result<void> write_keys(const std::filesystem::path& file, const key_pair& keys);

/// Both keys. Errors: io, bad_file (also if group or others may read the file, or the two keys do
/// not belong together).
result<key_pair> read_keys(const std::filesystem::path& file);

/// The public key in a .pub file or a key file.
result<std::string> read_public_key(const std::filesystem::path& file);

} // namespace coel::net
