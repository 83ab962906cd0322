// A UDP socket that is heard by everybody on the segment. Knows nothing of what it carries.
#pragma once

#include "common/result.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace coel::net {

/// IPv4, first byte highest: 10.0.0.1 is 0x0a000001.
struct udp_address {
  uint32_t address = 0;
  uint16_t port = 0;
  bool operator==(const udp_address&) const = default;
};

/// "10.0.0.7" or "10.0.0.7:1698"; no names, as nothing should wait for a name server.
/// Errors: bad_argument.
result<udp_address> parse_udp_address(const std::string& text, uint16_t default_port);

std::string ipv4_text(uint32_t address);

struct broadcast_interface {
  std::string name;
  unsigned index = 0;
  uint32_t address = 0;
  uint32_t broadcast = 0;
  bool operator==(const broadcast_interface&) const = default;
};

/// Interfaces that are up and can broadcast, those of `names` or all if it is empty; one with
/// several subnets is there once for each, with its first address there. One that is down now may
/// be there at the next call. Errors: io, bad_argument (no interface has that name).
result<std::vector<broadcast_interface>>
broadcast_interfaces(const std::vector<std::string>& names);

/// Every IPv4 address of this machine.
result<std::vector<uint32_t>> own_addresses();

class udp_broadcast {
 public:
  struct datagram {
    udp_address source;
    uint32_t local = 0;     ///< our address that it came to; of its interface, if it was broadcast
    unsigned interface = 0; ///< index
    bool broadcast = false; ///< came to everybody, not to `local`
    bool cut = false;       ///< was longer than the buffer
    size_t size = 0;
  };

  /// Several processes may hold the port (SO_REUSEADDR): each gets the broadcasts, one of them the
  /// rest. Bound to an address instead of 0, the system delivers no broadcasts.
  /// Errors: io; the message says what to set if the port needs a privilege or is taken.
  static result<udp_broadcast> open(udp_address bound);

  udp_broadcast(udp_broadcast&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  udp_broadcast& operator=(udp_broadcast&&) = delete;
  ~udp_broadcast();

  int descriptor() const { return socket_; } ///< readable when receive has something

  /// To everybody at the interface, from its address.
  result<void> broadcast(std::span<const uint8_t> bytes, const broadcast_interface& by,
                         uint16_t port);

  /// `from`: an address of ours; 0: as the system chooses.
  result<void> send(std::span<const uint8_t> bytes, uint32_t from, const udp_address& to);

  /// Empty if nothing has arrived. What the network reports of earlier sends is no error here.
  result<std::optional<datagram>> receive(std::span<uint8_t> buffer);

  /// The address that the system would send from. Errors: io (no way there).
  static result<uint32_t> source_towards(const udp_address& to);

 private:
  explicit udp_broadcast(int socket) : socket_(socket) {}
  result<void> send_by(std::span<const uint8_t> bytes, unsigned interface, uint32_t from,
                       const udp_address& to);
  int socket_ = -1;
};

} // namespace coel::net
