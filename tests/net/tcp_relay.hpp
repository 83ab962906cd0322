// A wire that a test can cut or let fall silent: passes bytes between clients and a TCP endpoint.
#pragma once

#include <arpa/inet.h>
#include <atomic>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace coel::net::test {

class tcp_relay {
 public:
  /// `target`: tcp://127.0.0.1:PORT
  explicit tcp_relay(const std::string& target)
      : target_(loopback(static_cast<uint16_t>(std::stoi(target.substr(target.rfind(':') + 1))))),
        listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto address = loopback(0);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("the relay cannot listen");
    endpoint_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~tcp_relay() {
    ending_ = true;
    thread_.join();
    close_all();
    ::close(listener_);
  }
  tcp_relay(const tcp_relay&) = delete;
  tcp_relay& operator=(const tcp_relay&) = delete;

  const std::string& endpoint() const { return endpoint_; }
  /// From now on nothing passes, and nobody is told: what a power cut looks like from afar.
  void fall_silent() { silent_ = true; }
  /// Closes what is open; who connects again is served.
  void cut() {
    cutting_ = true;
    while (cutting_)
      std::this_thread::yield();
  }

 private:
  struct line {
    int client, node;
  };

  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return out;
  }

  void run() {
    while (!ending_) {
      std::vector<pollfd> all{{listener_, POLLIN, 0}};
      for (const auto& one : lines_) {
        all.push_back({one.client, POLLIN, 0});
        all.push_back({one.node, POLLIN, 0});
      }
      constexpr int look_again_ms = 10;
      ::poll(all.data(), silent_ ? 0 : all.size(), look_again_ms);
      if (cutting_) {
        close_all();
        cutting_ = false;
      } else if (!silent_) {
        pass(all);
      }
    }
  }

  void pass(const std::vector<pollfd>& all) {
    std::vector<line> open;
    for (size_t i = 0; i < lines_.size(); ++i) {
      auto one = lines_[i];
      bool there = all[1 + 2 * i].revents == 0 || copy(one.client, one.node);
      bool back = all[2 + 2 * i].revents == 0 || copy(one.node, one.client);
      if (there && back)
        open.push_back(one);
      else
        close(one);
    }
    lines_ = std::move(open);
    if (all[0].revents != 0)
      accept();
  }

  void accept() {
    line one{::accept(listener_, nullptr, nullptr),
             ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (::connect(one.node, reinterpret_cast<const sockaddr*>(&target_), sizeof target_) == 0)
      lines_.push_back(one);
    else
      close(one);
  }

  static bool copy(int from, int to) {
    char bytes[4096];
    auto got = ::recv(from, bytes, sizeof bytes, 0);
    return got > 0 && ::send(to, bytes, static_cast<size_t>(got), MSG_NOSIGNAL) == got;
  }
  static void close(const line& one) {
    ::close(one.client);
    ::close(one.node);
  }
  void close_all() {
    for (const auto& one : lines_)
      close(one);
    lines_.clear();
  }

  sockaddr_in target_;
  int listener_;
  std::string endpoint_;
  std::vector<line> lines_; // of the thread
  std::atomic<bool> silent_{false}, cutting_{false}, ending_{false};
  std::thread thread_;
};

} // namespace coel::net::test
