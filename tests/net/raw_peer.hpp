// A peer that speaks just enough ZMTP 3.1 (ZeroMQ RFC 37) to be heard, and does not answer pings.
#pragma once

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace coel::net::test {

class raw_peer {
 public:
  /// `endpoint`: tcp://127.0.0.1:PORT
  explicit raw_peer(const std::string& endpoint)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port =
        htons(static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect to " + endpoint);
  }
  ~raw_peer() { ::close(fd_); }
  raw_peer(const raw_peer&) = delete;
  raw_peer& operator=(const raw_peer&) = delete;

  /// False once the other side has closed.
  bool write(const std::string& bytes) {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }

  /// Greeting with the NULL mechanism and the READY command of a DEALER; waits for those of the
  /// other side, before which no message may be sent.
  void greet() {
    std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL", 16);
    greeting.resize(64, '\0');
    write(greeting);
    const std::string ready("\x04\x1C\x05READY\x0BSocket-Type\0\0\0\x06"
                            "DEALER",
                            30);
    write(ready);
    read(greeting.size());
    read(static_cast<unsigned char>(read(2)[1]));
  }

  void send_frame(const std::string& payload, bool more = false) {
    std::string header(1, static_cast<char>(more ? 3 : 2)); // long frames
    for (int shift = 56; shift >= 0; shift -= 8)
      header += static_cast<char>(payload.size() >> shift & 0xFF);
    write(header + payload);
  }

  /// Reads until the other side closes; false if it does not within 20 s.
  bool closed_by_peer() {
    timeval limit{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char buffer[4096];
    for (;;) {
      auto got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got == 0 || (got < 0 && errno == ECONNRESET))
        return true;
      if (got < 0)
        return false;
    }
  }

 private:
  std::string read(size_t size) {
    std::string bytes(size, '\0');
    if (::recv(fd_, bytes.data(), size, MSG_WAITALL) != static_cast<ssize_t>(size))
      throw std::runtime_error("the other side closed while greeting");
    return bytes;
  }

  int fd_;
};

} // namespace coel::net::test
