#include "tests/cluster/tap.hpp"

#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace coel::testing {

namespace {

sockaddr_in at(const std::string& address, uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  if (inet_pton(AF_INET, address.c_str(), &out.sin_addr) != 1)
    throw std::runtime_error("no address: " + address);
  return out;
}

const sockaddr* plain(const sockaddr_in& from) {
  return reinterpret_cast<const sockaddr*>(&from);
}

int tcp_socket() {
  return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

int connected_from(const std::string& source, const sockaddr_in& to) {
  int made = tcp_socket();
  timeval patience{5, 0}; // for a side that no longer reads
  ::setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  auto from = at(source.empty() ? "0.0.0.0" : source, 0);
  if (::bind(made, plain(from), sizeof from) == 0 && ::connect(made, plain(to), sizeof to) == 0)
    return made;
  ::close(made);
  return -1;
}

} // namespace

tap::tap(tap_options options) : options_(std::move(options)), listener_(tcp_socket()) {
  auto where = at(options_.listen, options_.port);
  int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener_, plain(where), sizeof where) != 0 || ::listen(listener_, 64) != 0)
    throw std::runtime_error("the tap cannot listen at " + options_.listen);
  thread_ = std::thread([this] { run(); });
}

tap::~tap() {
  ending_ = true;
  thread_.join();
  close_all();
  ::close(listener_);
}

void tap::cut(bool now) {
  cut_ = now;
}

std::string tap::recorded() const {
  std::lock_guard lock(mutex_);
  return there_ + back_;
}

void tap::run() {
  constexpr int look_again_ms = 5;
  bool was_cut = false;
  while (!ending_) {
    if (was_cut && !cut_)
      close_all();
    was_cut = cut_;
    std::vector<pollfd> all{{listener_, POLLIN, 0}};
    for (const auto& one : lines_) {
      all.push_back({one.client, POLLIN, 0});
      all.push_back({one.target, POLLIN, 0});
    }
    ::poll(all.data(), was_cut ? 0 : all.size(), look_again_ms);
    if (was_cut || cut_)
      continue;
    std::vector<line> open;
    for (size_t i = 0; i < lines_.size(); ++i) {
      auto [client, target] = lines_[i];
      if ((all[1 + 2 * i].revents == 0 || copy(client, target, there_)) &&
          (all[2 + 2 * i].revents == 0 || copy(target, client, back_))) {
        open.push_back(lines_[i]);
        continue;
      }
      ::close(client);
      ::close(target);
    }
    lines_ = std::move(open);
    if (all[0].revents != 0)
      accept();
  }
}

void tap::accept() {
  line one{::accept(listener_, nullptr, nullptr),
           connected_from(options_.source, at(options_.target, options_.port))};
  if (one.target >= 0)
    lines_.push_back(one);
  else
    ::close(one.client); // nobody listens there
}

bool tap::copy(int from, int to, std::string& record) {
  std::array<char, 1 << 16> bytes;
  auto got = ::recv(from, bytes.data(), bytes.size(), 0);
  if (got <= 0)
    return false;
  if (options_.record) {
    std::lock_guard lock(mutex_);
    record.append(bytes.data(), static_cast<size_t>(got));
  }
  for (ssize_t done = 0; done < got;) {
    auto sent = ::send(to, bytes.data() + done, static_cast<size_t>(got - done), MSG_NOSIGNAL);
    if (sent <= 0)
      return false;
    done += sent;
  }
  return true;
}

void tap::close_all() {
  for (const auto& one : lines_) {
    ::close(one.client);
    ::close(one.target);
  }
  lines_.clear();
}

} // namespace coel::testing
