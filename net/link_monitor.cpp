#include "net/link_monitor.hpp"

#include <atomic>
#include <cstring>
#include <string>

namespace coel::net {

namespace {

std::string fresh_address() {
  static std::atomic<uint64_t> next{0};
  return "inproc://coel.link.monitor." + std::to_string(next++);
}

} // namespace

link_monitor::link_monitor(zmq::context_t& context, zmq::socket_t& watched, int events)
    : watched_(&watched), socket_(context, zmq::socket_type::pair) {
  auto address = fresh_address();
  socket_.set(zmq::sockopt::linger, 0);
  socket_.set(zmq::sockopt::rcvhwm, 0); // a full queue would stop libzmq's own thread
  if (::zmq_socket_monitor(watched.handle(), address.c_str(), events) != 0)
    throw zmq::error_t();
  socket_.connect(address);
}

// libzmq would wait for ever to hand an event to a listener that has gone.
link_monitor::~link_monitor() {
  ::zmq_socket_monitor(watched_->handle(), nullptr, 0);
}

std::optional<link_monitor::event> link_monitor::next() {
  zmq::message_t head, address;
  event out;
  if (!socket_.recv(head, zmq::recv_flags::dontwait))
    return std::nullopt;
  while (head.more() && socket_.recv(address) && address.more()) {
  }
  if (head.size() < sizeof out.kind + sizeof out.value)
    return out;
  std::memcpy(&out.kind, head.data(), sizeof out.kind);
  std::memcpy(&out.value, head.data<std::byte>() + sizeof out.kind, sizeof out.value);
  return out;
}

} // namespace coel::net
