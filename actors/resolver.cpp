#include "actors/resolver.hpp"

#include <caf/all.hpp>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

namespace coel::actors {

namespace {

constexpr std::chrono::seconds again_after{10};

std::vector<std::string> addresses_of(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::vector<std::string> all;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0)
    return all; // it may be there at the next look
  for (auto* a = found; a; a = a->ai_next) {
    char text[INET_ADDRSTRLEN];
    const auto* in = reinterpret_cast<const sockaddr_in*>(a->ai_addr);
    if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof text))
      all.emplace_back(text);
  }
  freeaddrinfo(found);
  return all;
}

} // namespace

resolver_actor::behavior_type resolver(resolver_actor::pointer self, std::vector<std::string> peers,
                                       perception_actor perception) {
  self->send(self, atom::tick::value);
  return {
      [=](atom::tick) {
        for (const auto& peer : peers) {
          auto colon = peer.rfind(':');
          for (const auto& address : addresses_of(peer.substr(0, colon)))
            self->send(perception, atom::heard::value, "tcp://" + address + peer.substr(colon));
        }
        self->delayed_send(self, again_after, atom::tick::value);
      },
  };
}

} // namespace coel::actors
