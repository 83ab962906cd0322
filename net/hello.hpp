// OLSR packets with HELLO messages (RFC 3626, sections 3.3, 6.1 and 18.3; IPv4): how nodes of a LAN
// notice each other. docs/perception.md has the bytes and what CoEL puts where the RFC leaves room.
#pragma once

#include "common/result.hpp"

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

namespace coel::net {

using ipv4_address = uint32_t; ///< first byte highest: 10.0.0.1 is 0x0a000001

enum class link_type : uint8_t { unspecified, asymmetric, symmetric, lost };
enum class neighbour_type : uint8_t { not_neighbour, symmetric, multipoint_relay };

/// What a HELLO says of one neighbour.
struct hello_link {
  ipv4_address address = 0; ///< of the neighbour's interface
  link_type link = link_type::unspecified;
  neighbour_type neighbour = neighbour_type::not_neighbour;
  bool operator==(const hello_link&) const = default;
};

struct hello_message {
  ipv4_address originator = 0; ///< main address of the node that speaks
  uint16_t sequence = 0;       ///< counts the originator's messages, modulo 65536
  std::chrono::microseconds validity{6'000'000};
  std::chrono::microseconds interval{2'000'000}; ///< to the next HELLO
  uint8_t compute = 0; ///< what is left, as policy/perception.hpp quantises it; 0: not reported
  uint8_t memory = 0;
  uint8_t willingness = 0; ///< to forward for others: 0 never, 7 always
  std::vector<hello_link> links;
  bool operator==(const hello_message&) const = default;
};

struct hello_packet {
  uint16_t sequence = 0; ///< counts the packets of the sending interface, modulo 65536
  std::vector<hello_message> hellos;
  /// Only from decode: messages that are no HELLO of the sender itself, and link messages with a
  /// code that the RFC does not define.
  uint32_t skipped = 0;
};

/// Payload of a UDP datagram that fits an Ethernet frame.
inline constexpr size_t hello_packet_bytes = 1472;
inline constexpr uint16_t olsr_port = 698;

/// Links are grouped by kind, each group in the order given. Times are rounded up to what a byte
/// can say (encode_time). Errors: bad_argument (no HELLO, or a symmetric link to no neighbour),
/// too_long.
result<std::vector<uint8_t>> encode_packet(const hello_packet& packet,
                                           size_t limit_bytes = hello_packet_bytes);

/// Takes a whole datagram or nothing. Messages of other types are skipped. Errors: bad_frame.
result<hello_packet> decode_packet(std::span<const uint8_t> datagram);

/// RFC 3626, 18.3: four bits of mantissa and four of exponent, 1/16 s to 3968 s. The least time
/// that is not shorter than `time`; 3968 s for whatever is longer.
uint8_t encode_time(std::chrono::microseconds time);

/// Rounded down to a microsecond, so that encode_time gives the same byte again.
std::chrono::microseconds decode_time(uint8_t byte);

} // namespace coel::net
