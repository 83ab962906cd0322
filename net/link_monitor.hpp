// What happens to a socket's connections. For the sources of net/ only.
#pragma once

#include <zmq.hpp>

#include <cstdint>
#include <optional>

namespace coel::net {

class link_monitor {
 public:
  struct event {
    uint16_t kind = 0;  ///< ZMQ_EVENT_...
    uint32_t value = 0; ///< a descriptor or the cause of a failure
  };

  /// Watches `events` of the socket, which must outlive this. Throws zmq::error_t.
  ///
  /// Never ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL: libzmq 4.3 tells it between setting errno and
  /// looking at it, telling changes errno to EAGAIN, and so a connection with a spoilt frame is not
  /// closed but waits, until the process aborts (stream_engine_base.cpp, `!_io_error`).
  link_monitor(zmq::context_t& context, zmq::socket_t& watched, int events);
  ~link_monitor();
  link_monitor(const link_monitor&) = delete;
  link_monitor& operator=(const link_monitor&) = delete;

  /// Does not wait.
  std::optional<event> next();

  zmq::socket_t& socket() { return socket_; }

 private:
  zmq::socket_t* watched_;
  zmq::socket_t socket_;
};

} // namespace coel::net
