#include "net/link_sender.hpp"

#include "net/endpoints.hpp"
#include "net/link_monitor.hpp"

#include <charconv>
#include <optional>
#include <utility>

namespace coel::net {

namespace {

constexpr int watched_events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_CLOSED; // see link_monitor.hpp for the one that is missing
// Nothing is expected from there: who sends is disconnected.
constexpr int64_t largest_incoming_bytes = 1024;
constexpr int first_reconnect_ms = 100;
constexpr int last_reconnect_ms = 1600;
constexpr int connect_timeout_ms = 2000;
constexpr int handshake_timeout_ms = 3000;

int milliseconds(std::chrono::milliseconds span) {
  return static_cast<int>(span.count());
}

// libzmq would find out later, and say nothing.
bool has_port(const std::string& endpoint) {
  unsigned port = 0;
  const char* end = endpoint.data() + endpoint.size();
  auto read = std::from_chars(endpoint.data() + endpoint.rfind(':') + 1, end, port);
  return read.ec == std::errc() && read.ptr == end && port > 0 && port <= 65535;
}

result<void> check(const sender_options& options) {
  auto kind = classify_endpoint(options.endpoint);
  if (!kind.ok())
    return kind.err();
  if (*kind == endpoint_kind::ipc || !has_port(options.endpoint))
    return {ec::bad_argument, "endpoint " + options.endpoint + ": links need tcp://HOST:PORT"};
  for (const auto& [key, what] : {std::pair(&options.own.public_key, "the node's public key"),
                                  std::pair(&options.own.secret_key, "the node's secret key"),
                                  std::pair(&options.server_key, "the cluster's public key")})
    if (auto checked = check_key(*key, what); !checked.ok())
      return checked;
  return {};
}

void set_options(zmq::socket_t& socket, const sender_options& options) {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::immediate, true);
  socket.set(zmq::sockopt::ipv6, true);
  socket.set(zmq::sockopt::sndhwm, options.queue_messages);
  socket.set(zmq::sockopt::rcvhwm, 0); // see link_receiver.cpp
  socket.set(zmq::sockopt::maxmsgsize, largest_incoming_bytes);
  socket.set(zmq::sockopt::heartbeat_ivl, milliseconds(options.heartbeat_interval));
  socket.set(zmq::sockopt::heartbeat_timeout, milliseconds(options.heartbeat_timeout));
  socket.set(zmq::sockopt::connect_timeout, connect_timeout_ms);
  socket.set(zmq::sockopt::handshake_ivl, handshake_timeout_ms);
  socket.set(zmq::sockopt::reconnect_ivl, first_reconnect_ms);
  socket.set(zmq::sockopt::reconnect_ivl_max, last_reconnect_ms);
  socket.set(zmq::sockopt::curve_serverkey, options.server_key);
  socket.set(zmq::sockopt::curve_publickey, options.own.public_key);
  socket.set(zmq::sockopt::curve_secretkey, options.own.secret_key);
}

} // namespace

struct link_sender::parts {
  parts(zmq::context_t& context, const sender_options& options)
      : endpoint(options.endpoint), socket(context, zmq::socket_type::dealer),
        monitor(context, socket, watched_events) {
    set_options(socket, options);
    socket.connect(endpoint);
  }

  std::optional<news> news_of(const link_monitor::event& happened);

  std::string endpoint;
  zmq::socket_t socket;
  link_monitor monitor;
  bool up = false;
  bool said_why = false; // each attempt that fails the same way is not news
};

std::optional<link_sender::news> link_sender::parts::news_of(const link_monitor::event& happened) {
  auto once = [&](event what, std::string text) -> std::optional<news> {
    if (std::exchange(said_why, true))
      return std::nullopt;
    return news{what, std::move(text)};
  };
  switch (happened.kind) {
  case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
    up = true;
    said_why = false;
    return news{event::connected, endpoint};
  case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: // libzmq does not try again
    said_why = true;
    return news{event::refused, endpoint + " refuses this node: it is expelled, not among the "
                                           "members of its cluster file, or tried too often"};
  case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    return once(event::refused, endpoint + " closed the connection while shaking hands: it has "
                                           "another cluster file, or is not a CoEL node");
  case ZMQ_EVENT_DISCONNECTED:
    if (!std::exchange(up, false)) // where another reason was told, this is not news
      return once(event::refused, endpoint + " is not a node of this cluster");
    return news{event::lost, "the connection to " + endpoint + " broke"};
  case ZMQ_EVENT_CLOSED:
    return once(event::lost, "nobody listens at " + endpoint);
  default:
    return std::nullopt;
  }
}

link_sender::link_sender(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
link_sender::link_sender(link_sender&&) noexcept = default;
link_sender& link_sender::operator=(link_sender&&) noexcept = default;
link_sender::~link_sender() = default;

result<link_sender> link_sender::open(zmq::context_t& context, const sender_options& options) {
  if (auto checked = check(options); !checked.ok())
    return checked.err();
  try {
    return link_sender(std::make_unique<parts>(context, options));
  } catch (const zmq::error_t& e) {
    return {e.num() == EINVAL ? ec::bad_argument : ec::io,
            "cannot connect to " + options.endpoint + ": " + e.what()};
  }
}

link_sender::outcome link_sender::send(zmq::message_t& message) {
  try {
    return parts_->socket.send(message, zmq::send_flags::dontwait) ? outcome::sent : outcome::full;
  } catch (const zmq::error_t&) { // the context ends
    return outcome::full;
  }
}

std::vector<link_sender::news> link_sender::take_news() {
  std::vector<news> out;
  try {
    while (auto happened = parts_->monitor.next())
      if (auto one = parts_->news_of(*happened))
        out.push_back(std::move(*one));
  } catch (const zmq::error_t&) { // the context ends
  }
  return out;
}

} // namespace coel::net
