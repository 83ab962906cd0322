#include "net/hello.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <string>

namespace coel::net {

namespace {

constexpr size_t packet_header_bytes = 4;
constexpr size_t message_header_bytes = 12;
constexpr size_t hello_header_bytes = 4;
constexpr size_t link_header_bytes = 4;
constexpr size_t address_bytes = 4;
constexpr size_t datagram_bytes = 65507; // what UDP over IPv4 can carry
constexpr uint8_t hello_type = 1;
constexpr uint8_t own_ttl = 1;          // a HELLO goes to the neighbours and no further
constexpr int64_t times_a_second = 256; // 1/16 s with a mantissa in sixteenths

/// Bytes in network order; who reads has asked left() before.
class reader {
 public:
  explicit reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  size_t left() const { return bytes_.size(); }
  uint8_t u8() { return static_cast<uint8_t>(number(1)); }
  uint16_t u16() { return static_cast<uint16_t>(number(2)); }
  uint32_t u32() { return number(4); }
  reader part(size_t count) { return reader(take(count)); }

 private:
  std::span<const uint8_t> take(size_t count) {
    assert(count <= left());
    auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  uint32_t number(size_t count) {
    uint32_t value = 0;
    for (uint8_t byte : take(count))
      value = value << 8 | byte;
    return value;
  }

  std::span<const uint8_t> bytes_;
};

class writer {
 public:
  void u8(uint8_t value) { bytes_.push_back(value); }
  void u16(size_t value) {
    u8(static_cast<uint8_t>(value >> 8));
    u8(static_cast<uint8_t>(value));
  }
  void u32(uint32_t value) {
    u16(value >> 16);
    u16(value & 0xffff);
  }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

/// Section 6.1.1 tells to drop a symmetric link to what is no neighbour.
bool contradicts_itself(link_type link, neighbour_type neighbour) {
  return link == link_type::symmetric && neighbour == neighbour_type::not_neighbour;
}

uint8_t link_code(const hello_link& x) {
  return static_cast<uint8_t>(static_cast<uint8_t>(x.neighbour) << 2 |
                              static_cast<uint8_t>(x.link));
}

bool is_defined(uint8_t code) {
  uint8_t neighbour = code >> 2;
  return neighbour <= static_cast<uint8_t>(neighbour_type::multipoint_relay) &&
         !contradicts_itself(link_type{static_cast<uint8_t>(code & 3)}, neighbour_type{neighbour});
}

error bad(std::string what) {
  return {ec::bad_frame, "OLSR packet: " + std::move(what)};
}

result<void> read_links(reader body, hello_message& hello, uint32_t& skipped) {
  while (body.left() > 0) {
    if (body.left() < link_header_bytes)
      return bad("a link message is cut off");
    uint8_t code = body.u8();
    body.u8();
    size_t size = body.u16();
    if (size < link_header_bytes || size - link_header_bytes > body.left() ||
        (size - link_header_bytes) % address_bytes != 0)
      return bad("a link message of " + std::to_string(size) + " bytes");
    auto addresses = body.part(size - link_header_bytes);
    if (!is_defined(code)) {
      ++skipped;
      continue;
    }
    while (addresses.left() > 0)
      hello.links.push_back({addresses.u32(), link_type{static_cast<uint8_t>(code & 3)},
                             neighbour_type{static_cast<uint8_t>(code >> 2)}});
  }
  return {};
}

result<void> read_hello(reader body, hello_message& hello, uint32_t& skipped) {
  if (body.left() < hello_header_bytes)
    return bad("a HELLO of " + std::to_string(body.left()) + " bytes");
  hello.compute = body.u8();
  hello.memory = body.u8();
  hello.interval = decode_time(body.u8());
  hello.willingness = body.u8();
  return read_links(body, hello, skipped);
}

/// One message of whatever type; adds a HELLO that comes from its originator itself.
result<void> read_message(reader& in, hello_packet& packet) {
  if (in.left() < message_header_bytes)
    return bad("a message header is cut off");
  uint8_t type = in.u8();
  hello_message hello;
  hello.validity = decode_time(in.u8());
  size_t size = in.u16();
  hello.originator = in.u32();
  uint8_t ttl = in.u8();
  uint8_t hops = in.u8();
  hello.sequence = in.u16();
  if (size < message_header_bytes || size - message_header_bytes > in.left())
    return bad("a message of " + std::to_string(size) + " bytes with " +
               std::to_string(in.left() + message_header_bytes) + " left");
  auto body = in.part(size - message_header_bytes);
  if (type != hello_type || ttl == 0 || hops != 0) {
    ++packet.skipped;
    return {};
  }
  auto done = read_hello(body, hello, packet.skipped);
  if (done.ok())
    packet.hellos.push_back(std::move(hello));
  return done;
}

/// Links sorted by code, which is how groups come about.
std::vector<hello_link> grouped(std::vector<hello_link> links) {
  std::stable_sort(links.begin(), links.end(),
                   [](const auto& a, const auto& b) { return link_code(a) < link_code(b); });
  return links;
}

bool starts_group(const std::vector<hello_link>& links, size_t i) {
  return i == 0 || link_code(links[i]) != link_code(links[i - 1]);
}

size_t encoded_bytes(const std::vector<hello_link>& links) {
  size_t bytes = message_header_bytes + hello_header_bytes + links.size() * address_bytes;
  for (size_t i = 0; i < links.size(); ++i)
    bytes += starts_group(links, i) ? link_header_bytes : 0;
  return bytes;
}

void write_links(writer& out, const std::vector<hello_link>& links) {
  for (size_t i = 0; i < links.size(); ++i) {
    if (starts_group(links, i)) {
      size_t end = i + 1;
      while (end < links.size() && !starts_group(links, end))
        ++end;
      out.u8(link_code(links[i]));
      out.u8(0);
      out.u16(link_header_bytes + (end - i) * address_bytes);
    }
    out.u32(links[i].address);
  }
}

void write_message(writer& out, const hello_message& hello, const std::vector<hello_link>& links) {
  out.u8(hello_type);
  out.u8(encode_time(hello.validity));
  out.u16(encoded_bytes(links));
  out.u32(hello.originator);
  out.u8(own_ttl);
  out.u8(0);
  out.u16(hello.sequence);
  out.u8(hello.compute);
  out.u8(hello.memory);
  out.u8(encode_time(hello.interval));
  out.u8(hello.willingness);
  write_links(out, links);
}

result<void> check_links(const std::vector<hello_link>& links) {
  for (const auto& x : links)
    if (contradicts_itself(x.link, x.neighbour))
      return {ec::bad_argument, "HELLO: a symmetric link makes a neighbour; list it as one"};
  return {};
}

} // namespace

result<std::vector<uint8_t>> encode_packet(const hello_packet& packet, size_t limit_bytes) {
  if (packet.hellos.empty())
    return {ec::bad_argument, "OLSR packet without a message: receivers would drop it"};
  limit_bytes = std::min(limit_bytes, datagram_bytes);
  size_t total = packet_header_bytes;
  std::vector<std::vector<hello_link>> links;
  for (const auto& hello : packet.hellos) {
    if (auto checked = check_links(hello.links); !checked.ok())
      return checked.err();
    links.push_back(grouped(hello.links));
    total += encoded_bytes(links.back());
  }
  if (total > limit_bytes)
    return {ec::too_long, "OLSR packet of " + std::to_string(total) + " bytes, at most " +
                              std::to_string(limit_bytes) + ": list fewer neighbours"};
  writer out;
  out.u16(total);
  out.u16(packet.sequence);
  for (size_t i = 0; i < links.size(); ++i)
    write_message(out, packet.hellos[i], links[i]);
  return out.take();
}

result<hello_packet> decode_packet(std::span<const uint8_t> datagram) {
  if (datagram.size() < packet_header_bytes + message_header_bytes)
    return bad(std::to_string(datagram.size()) + " bytes are too short");
  reader in(datagram);
  size_t size = in.u16();
  if (size != datagram.size())
    return bad("says " + std::to_string(size) + " bytes and has " +
               std::to_string(datagram.size()));
  hello_packet packet;
  packet.sequence = in.u16();
  while (in.left() > 0)
    if (auto done = read_message(in, packet); !done.ok())
      return done.err();
  return packet;
}

uint8_t encode_time(std::chrono::microseconds time) {
  constexpr int64_t second_us = 1'000'000;
  constexpr int64_t longest_us = int64_t{3968} * second_us;
  int64_t us = std::clamp<int64_t>(time.count(), 0, longest_us);
  // In 1/256 s a time is (16 + mantissa) << exponent.
  auto units = static_cast<uint64_t>((us * times_a_second + second_us - 1) / second_us);
  units = std::max<uint64_t>(units, 16);
  auto exponent = static_cast<uint64_t>(std::bit_width(units)) - 5;
  uint64_t mantissa = ((units + (uint64_t{1} << exponent) - 1) >> exponent) - 16;
  if (mantissa == 16) {
    mantissa = 0;
    ++exponent;
  }
  return static_cast<uint8_t>(mantissa << 4 | exponent);
}

std::chrono::microseconds decode_time(uint8_t byte) {
  int64_t units = int64_t{16 + (byte >> 4)} << (byte & 15);
  return std::chrono::microseconds(units * 1'000'000 / times_a_second);
}

} // namespace coel::net
