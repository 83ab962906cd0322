#include "net/udp_broadcast.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace coel::net {

namespace {

sockaddr_in to_system(const udp_address& x) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(x.port);
  out.sin_addr.s_addr = htonl(x.address);
  return out;
}

const sockaddr* plain(const sockaddr_in& x) {
  return reinterpret_cast<const sockaddr*>(&x);
}

std::string text(const udp_address& x) {
  return ipv4_text(x.address) + ":" + std::to_string(x.port);
}

error failed(const std::string& what) {
  return {ec::io, "UDP: " + what + ": " + std::strerror(errno)};
}

error cannot_bind(const udp_address& bound) {
  auto why = "UDP " + text(bound) + ": ";
  if (errno == EACCES)
    return {ec::io, why + "port " + std::to_string(bound.port) +
                        " needs root or CAP_NET_BIND_SERVICE: set hello-port to one above 1023 on "
                        "all nodes, or run setcap cap_net_bind_service+ep on the program"};
  if (errno == EADDRINUSE)
    return {ec::io, why + "another program holds the port alone: set hello-port on all nodes, or "
                          "stop it (ss -ulpn shows it)"};
  if (errno == EADDRNOTAVAIL)
    return {ec::io, why + "this machine has no such address; ip -4 address shows those it has"};
  return failed("cannot bind " + text(bound));
}

bool set_options(int socket) {
  int on = 1;
  return setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
         setsockopt(socket, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) == 0 &&
         setsockopt(socket, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0;
}

uint32_t address_of(const sockaddr* x) {
  sockaddr_in in;
  std::memcpy(&in, x, sizeof in);
  return ntohl(in.sin_addr.s_addr);
}

using interface_list = std::unique_ptr<ifaddrs, decltype(&freeifaddrs)>;

result<interface_list> list_interfaces() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0)
    return failed("cannot list the network interfaces");
  return interface_list(first, freeifaddrs);
}

bool can_broadcast(const ifaddrs& x) {
  constexpr unsigned wanted = IFF_UP | IFF_BROADCAST;
  return (x.ifa_flags & wanted) == wanted && x.ifa_addr && x.ifa_addr->sa_family == AF_INET;
}

/// Everybody's address where the subnet has none, as after `ip address add 10.0.0.1/24 dev eth0`.
uint32_t broadcast_address(const ifaddrs& x) {
  uint32_t of_subnet = x.ifa_broadaddr ? address_of(x.ifa_broadaddr) : 0;
  return of_subnet == 0 || of_subnet == address_of(x.ifa_addr) ? INADDR_BROADCAST : of_subnet;
}

bool is_listed(const std::vector<broadcast_interface>& all, const broadcast_interface& x) {
  return std::any_of(all.begin(), all.end(), [&](const auto& y) {
    return y.index == x.index && y.broadcast == x.broadcast;
  });
}

bool exists(const ifaddrs* first, const std::string& name) {
  for (const auto* x = first; x; x = x->ifa_next)
    if (name == x->ifa_name)
      return true;
  return false;
}

/// What has gone wrong on the way of earlier datagrams, and is reported by a later call.
bool is_of_the_network(int code) {
  return code == ECONNREFUSED || code == EHOSTUNREACH || code == ENETUNREACH || code == EHOSTDOWN ||
         code == ENETDOWN || code == EPROTO || code == ENOPROTOOPT;
}

} // namespace

result<udp_address> parse_udp_address(const std::string& text, uint16_t default_port) {
  auto colon = text.find(':');
  in_addr parsed{};
  udp_address out{0, default_port};
  bool ok = inet_pton(AF_INET, text.substr(0, colon).c_str(), &parsed) == 1;
  if (ok && colon != std::string::npos) {
    const char* end = text.data() + text.size();
    auto [rest, ec] = std::from_chars(text.data() + colon + 1, end, out.port);
    ok = ec == std::errc{} && rest == end && out.port != 0;
  }
  if (!ok)
    return {ec::bad_argument,
            "\"" + text + "\" is no IPv4 address; write 10.0.0.7 or 10.0.0.7:1698"};
  out.address = ntohl(parsed.s_addr);
  return out;
}

std::string ipv4_text(uint32_t address) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8)
    out += std::to_string(address >> shift & 0xff) + (shift > 0 ? "." : "");
  return out;
}

result<std::vector<broadcast_interface>>
broadcast_interfaces(const std::vector<std::string>& names) {
  auto list = list_interfaces();
  if (!list.ok())
    return list.err();
  for (const auto& name : names)
    if (!exists(list->get(), name))
      return {ec::bad_argument, "no network interface \"" + name + "\"; ip link shows them"};
  std::vector<broadcast_interface> out;
  for (const auto* x = list->get(); x; x = x->ifa_next) {
    if (!can_broadcast(*x) ||
        (!names.empty() && std::find(names.begin(), names.end(), x->ifa_name) == names.end()))
      continue;
    broadcast_interface one{x->ifa_name, if_nametoindex(x->ifa_name), address_of(x->ifa_addr),
                            broadcast_address(*x)};
    if (!is_listed(out, one))
      out.push_back(std::move(one));
  }
  return out;
}

result<std::vector<uint32_t>> own_addresses() {
  auto list = list_interfaces();
  if (!list.ok())
    return list.err();
  std::vector<uint32_t> out;
  for (const auto* x = list->get(); x; x = x->ifa_next)
    if (x->ifa_addr && x->ifa_addr->sa_family == AF_INET)
      out.push_back(address_of(x->ifa_addr));
  return out;
}

result<udp_broadcast> udp_broadcast::open(udp_address bound) {
  udp_broadcast out(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (out.socket_ < 0 || !set_options(out.socket_))
    return failed("cannot make a socket");
  auto where = to_system(bound);
  if (bind(out.socket_, plain(where), sizeof where) != 0)
    return cannot_bind(bound);
  return out;
}

udp_broadcast::~udp_broadcast() {
  if (socket_ >= 0)
    close(socket_);
}

result<void> udp_broadcast::broadcast(std::span<const uint8_t> bytes, const broadcast_interface& by,
                                      uint16_t port) {
  return send_by(bytes, by.index, by.address, {by.broadcast, port});
}

result<void> udp_broadcast::send(std::span<const uint8_t> bytes, uint32_t from,
                                 const udp_address& to) {
  return send_by(bytes, 0, from, to);
}

result<void> udp_broadcast::send_by(std::span<const uint8_t> bytes, unsigned interface,
                                    uint32_t from, const udp_address& to) {
  auto where = to_system(to);
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
  msghdr message{};
  message.msg_name = &where;
  message.msg_namelen = sizeof where;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = IPPROTO_IP;
  header->cmsg_type = IP_PKTINFO;
  header->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  in_pktinfo info{};
  info.ipi_ifindex = static_cast<int>(interface);
  info.ipi_spec_dst.s_addr = htonl(from);
  std::memcpy(CMSG_DATA(header), &info, sizeof info);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (sendmsg(socket_, &message, 0) >= 0)
      return {};
    if (!is_of_the_network(errno) && errno != EINTR)
      break; // else it may have been about an earlier datagram, and is reported once
  }
  return failed("cannot send to " + text(to));
}

result<std::optional<udp_broadcast::datagram>> udp_broadcast::receive(std::span<uint8_t> buffer) {
  sockaddr_in source{};
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
  msghdr message{};
  message.msg_name = &source;
  message.msg_namelen = sizeof source;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  auto size = recvmsg(socket_, &message, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR || is_of_the_network(errno)))
    return std::optional<datagram>{};
  if (size < 0)
    return failed("cannot receive");
  datagram out;
  out.source = {ntohl(source.sin_addr.s_addr), ntohs(source.sin_port)};
  out.size = static_cast<size_t>(size);
  out.cut = message.msg_flags & MSG_TRUNC;
  for (auto* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != IPPROTO_IP || header->cmsg_type != IP_PKTINFO)
      continue;
    in_pktinfo info;
    std::memcpy(&info, CMSG_DATA(header), sizeof info);
    out.interface = static_cast<unsigned>(info.ipi_ifindex);
    out.local = ntohl(info.ipi_spec_dst.s_addr);
    out.broadcast = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
  }
  return std::optional(out);
}

result<uint32_t> udp_broadcast::source_towards(const udp_address& to) {
  udp_broadcast probe(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto where = to_system(to);
  sockaddr_in own{};
  socklen_t size = sizeof own;
  if (probe.socket_ < 0 || connect(probe.socket_, plain(where), sizeof where) != 0 ||
      getsockname(probe.socket_, reinterpret_cast<sockaddr*>(&own), &size) != 0)
    return failed("no way to " + text(to));
  return ntohl(own.sin_addr.s_addr);
}

} // namespace coel::net
