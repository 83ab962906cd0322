// The app protocol, version 1: one msgpack map per message (docs/protocol.md). Bytes to values and
// back; knows no sockets.
#pragma once

#include "common/request.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coel::net {

inline constexpr uint64_t app_protocol_version = 1;

// Limits of version 1; a message beyond them is refused, never cut.
inline constexpr size_t max_request_bytes = 4u << 20;
inline constexpr size_t max_reply_bytes = 16u << 20;
inline constexpr size_t max_name_bytes = 256; // model, role, what, reason
inline constexpr size_t max_tokens_listed = 1u << 19;
inline constexpr size_t max_chat_messages = 1024;
inline constexpr size_t max_stop_strings = 16;
inline constexpr size_t max_stop_bytes = 256;
inline constexpr size_t max_top_logprobs = 20;
inline constexpr size_t max_error_bytes = 4096;

/// Bytes of a message. Text that is not UTF-8 is repaired with U+FFFD. `id` is the app's own.
std::string encode(uint64_t id, const app_request& request);
std::string encode(uint64_t id, const app_reply& reply);

/// A message taken apart. `id` is there whenever it could be read, even beside an error, so that
/// the peer learns which of its messages failed.
template <class Body>
struct decoded {
  std::optional<uint64_t> id;
  result<Body> body;
};

/// Errors: bad_frame (not msgpack, a field of a wrong type: named), version_mismatch,
/// too_long (a limit above), bad_argument (fields that exclude or need each other).
decoded<app_request> decode_request(std::string_view frame);
decoded<app_reply> decode_reply(std::string_view frame);

} // namespace coel::net
