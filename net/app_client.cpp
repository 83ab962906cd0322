#include "net/app_client.hpp"

#include "net/app_protocol.hpp"
#include "net/endpoints.hpp"

#include <zmq.hpp>

#include <cstring>

namespace coel::net {

using std::chrono::milliseconds;
using clock = std::chrono::steady_clock;

struct app_client::state {
  zmq::context_t context;
  zmq::socket_t socket{context, zmq::socket_type::dealer};
  zmq::socket_t monitor{context, zmq::socket_type::pair};
  std::string endpoint;
  milliseconds lost_after{0};
  uint64_t next_id = 1; // 0 stands for an id that could not be read
  bool lost = false;
};

namespace {

constexpr const char* monitor_address = "inproc://coel.client.monitor";
constexpr int watched_events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_CLOSED; // see link_monitor.hpp for the one that is missing

milliseconds left_until(clock::time_point deadline) {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - clock::now()));
}

// The next event within `timeout`; 0 if there is none.
int next_event(zmq::socket_t& monitor, milliseconds timeout) {
  zmq::pollitem_t item{monitor.handle(), 0, ZMQ_POLLIN, 0};
  zmq::message_t event, address;
  if (zmq::poll(&item, 1, timeout) == 0 || !monitor.recv(event, zmq::recv_flags::dontwait))
    return 0;
  if (event.more())
    (void)monitor.recv(address);
  uint16_t kind = 0;
  std::memcpy(&kind, event.data(), std::min(sizeof kind, event.size()));
  return kind;
}

// Of the time after which a node is lost a quarter passes at most until the next ping; the rest is
// left for its answer.
void set_heartbeats(zmq::socket_t& socket, milliseconds lost_after) {
  auto all = static_cast<int>(lost_after.count());
  auto interval = std::min(all, std::max(1, all / 4));
  socket.set(zmq::sockopt::heartbeat_ivl, interval);
  socket.set(zmq::sockopt::heartbeat_timeout, std::max(interval, all - interval));
}

result<void> configure(zmq::socket_t& socket, const app_client_options& options) {
  // Never, in effect. With -1 libzmq ends the pipe of a lost connection, and what lies in it unread
  // is lost too.
  socket.set(zmq::sockopt::reconnect_ivl, 24 * 3600 * 1000);
  socket.set(zmq::sockopt::linger, 500);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(max_reply_bytes));
  socket.set(zmq::sockopt::rcvhwm, 0); // see router.cpp
  set_heartbeats(socket, options.lost_after);
  socket.set(zmq::sockopt::ipv6, true);
  if (!options.server_key)
    return {};
  if (auto checked = check_key(*options.server_key, "the node's public key"); !checked.ok())
    return checked;
  auto keys = options.keys ? result<key_pair>(*options.keys) : generate_keys();
  if (!keys.ok())
    return keys.err();
  socket.set(zmq::sockopt::curve_serverkey, *options.server_key);
  socket.set(zmq::sockopt::curve_publickey, keys->public_key);
  socket.set(zmq::sockopt::curve_secretkey, keys->secret_key);
  return {};
}

error nobody_at(const std::string& endpoint) {
  return {ec::io, "no node answers at " + endpoint +
                      "; start coel-node, or give its address with --endpoint or "
                      "COEL_ENDPOINT"};
}

error lost_node(const std::string& endpoint, milliseconds lost_after) {
  return {ec::io, "the node at " + endpoint +
                      " closed the connection, or gave no sign of life for " +
                      std::to_string(lost_after.count()) + " ms"};
}

error refused_at(const std::string& endpoint, bool encrypted) {
  if (encrypted)
    return {ec::bad_argument, "the node at " + endpoint +
                                  " refused the keys; check its public key, and that yours is "
                                  "among the clients it allows"};
  return {ec::bad_argument, "what listens at " + endpoint +
                                " does not speak with this client; if it is a node with "
                                "keys, give its public key"};
}

result<void> await_handshake(zmq::socket_t& monitor, const app_client_options& options,
                             const std::string& endpoint) {
  auto deadline = clock::now() + options.connect_timeout;
  while (clock::now() < deadline) {
    switch (next_event(monitor, left_until(deadline))) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      return {};
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_DISCONNECTED:
      return refused_at(endpoint, options.server_key.has_value());
    case ZMQ_EVENT_CLOSED:
      return nobody_at(endpoint);
    default:
      break;
    }
  }
  return nobody_at(endpoint);
}

} // namespace

app_client::app_client(std::unique_ptr<state> connected) : state_(std::move(connected)) {}
app_client::app_client(app_client&&) noexcept = default;
app_client& app_client::operator=(app_client&&) noexcept = default;
app_client::~app_client() = default;

result<app_client> app_client::connect(const app_client_options& options) {
  auto endpoint = options.endpoint.empty() ? default_endpoint() : options.endpoint;
  if (auto kind = classify_endpoint(endpoint); !kind.ok())
    return kind.err();
  try {
    auto made = std::make_unique<state>();
    made->endpoint = endpoint;
    made->lost_after = options.lost_after;
    if (auto configured = configure(made->socket, options); !configured.ok())
      return configured.err();
    if (::zmq_socket_monitor(made->socket.handle(), monitor_address, watched_events) != 0)
      throw zmq::error_t();
    made->monitor.set(zmq::sockopt::linger, 0);
    made->monitor.connect(monitor_address);
    made->socket.connect(endpoint);
    if (auto greeted = await_handshake(made->monitor, options, endpoint); !greeted.ok()) {
      made->socket.set(zmq::sockopt::linger, 0);
      return greeted.err();
    }
    return app_client(std::move(made));
  } catch (const zmq::error_t& e) {
    return {ec::io, "cannot connect to " + endpoint + ": " + e.what()};
  }
}

result<uint64_t> app_client::send(const app_request& request) {
  auto id = state_->next_id++;
  auto bytes = encode(id, request);
  if (bytes.size() > max_request_bytes)
    return {ec::too_long, "a request of " + std::to_string(bytes.size()) +
                              " bytes exceeds the limit of " + std::to_string(max_request_bytes)};
  try {
    if (!state_->lost && state_->socket.send(zmq::buffer(bytes), zmq::send_flags::dontwait))
      return id;
  } catch (const zmq::error_t& e) {
    return {ec::io, "cannot send to " + state_->endpoint + ": " + e.what()};
  }
  return {ec::io, "the connection to " + state_->endpoint + " is lost or its queue is full"};
}

result<std::optional<app_client::incoming>> app_client::poll(milliseconds timeout) {
  auto& s = *state_;
  auto deadline = clock::now() + timeout;
  try {
    for (;;) {
      zmq::message_t frame;
      if (s.socket.recv(frame, zmq::recv_flags::dontwait)) {
        if (frame.size() == 0 && frame.more())
          continue; // a delimiter
        auto message = decode_reply(frame.to_string_view());
        if (!message.body.ok())
          return message.body.err();
        return std::optional(incoming{*message.id, std::move(*message.body)});
      }
      if (s.lost)
        return lost_node(s.endpoint, s.lost_after);
      zmq::pollitem_t items[] = {{s.socket.handle(), 0, ZMQ_POLLIN, 0},
                                 {s.monitor.handle(), 0, ZMQ_POLLIN, 0}};
      if (zmq::poll(items, 2, left_until(deadline)) == 0)
        return std::optional<incoming>();
      // What was sent before the connection closed is still read, in the next turn.
      if ((items[1].revents & ZMQ_POLLIN) != 0)
        s.lost = next_event(s.monitor, milliseconds(0)) == ZMQ_EVENT_DISCONNECTED || s.lost;
    }
  } catch (const zmq::error_t& e) {
    if (e.num() == EINTR)
      return std::optional<incoming>();
    return {ec::io, "cannot receive from " + s.endpoint + ": " + e.what()};
  }
}

result<app_reply> app_client::ask(const app_request& request, milliseconds timeout) {
  auto id = send(request);
  if (!id.ok())
    return id.err();
  auto deadline = clock::now() + timeout;
  while (clock::now() < deadline) {
    auto came = poll(left_until(deadline));
    if (!came.ok())
      return came.err();
    if (!*came)
      continue;
    auto* failed = std::get_if<error>(&(*came)->reply);
    bool ours = (*came)->id == *id || ((*came)->id == 0 && failed != nullptr);
    if (!ours || std::holds_alternative<token_reply>((*came)->reply))
      continue;
    if (failed != nullptr)
      return *failed;
    return std::move((*came)->reply);
  }
  return {ec::deadline, "no reply from " + state_->endpoint + " within " +
                            std::to_string(timeout.count()) + " ms"};
}

} // namespace coel::net
