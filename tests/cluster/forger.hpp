// Sends HELLOs in the name of others.
#pragma once

#include "net/hello.hpp"
#include "net/udp_broadcast.hpp"

#include <span>
#include <string>
#include <vector>

namespace coel::testing {

inline constexpr uint16_t hello_port = 7698; ///< of test_cluster

inline uint32_t ipv4(const std::string& text) {
  return net::parse_udp_address(text, 1)->address;
}

/// Forges the source of datagrams: all of 127/8 is this machine.
class forger {
 public:
  forger() : socket_(std::move(*net::udp_broadcast::open({0, hello_port}))) {}

  bool say(const std::string& from, const std::string& to, std::span<const uint8_t> packet) {
    return socket_.send(packet, ipv4(from), {ipv4(to), hello_port}).ok();
  }
  bool hello(const std::string& from, const std::string& to, uint16_t sequence, uint8_t free,
             std::vector<net::hello_link> links) {
    net::hello_message hello;
    hello.originator = ipv4(from);
    hello.sequence = sequence;
    hello.validity = std::chrono::seconds(6);
    hello.interval = std::chrono::seconds(2);
    hello.compute = hello.memory = static_cast<uint8_t>(0x80 | free);
    hello.willingness = 7;
    hello.links = std::move(links);
    auto packet = net::encode_packet({sequence, {hello}, 0});
    return packet.ok() && say(from, to, *packet);
  }

 private:
  net::udp_broadcast socket_;
};

} // namespace coel::testing
