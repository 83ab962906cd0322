#include "net/router.hpp"

#include "net/endpoints.hpp"

#include <atomic>
#include <cstring>
#include <sys/stat.h>

namespace coel::net {

namespace {

std::string monitor_address() {
  static std::atomic<uint64_t> next{0};
  return "inproc://coel.monitor." + std::to_string(next++);
}

int milliseconds(std::chrono::milliseconds span) {
  return static_cast<int>(span.count());
}

// ROUTER numbers the peers that bring no id of their own: a zero byte and a counter.
std::optional<uint32_t> running_number(const std::string& peer) {
  if (peer.size() != 5 || peer[0] != 0)
    return std::nullopt;
  uint32_t number = 0;
  for (size_t i = 1; i < peer.size(); ++i)
    number = number << 8 | static_cast<unsigned char>(peer[i]);
  return number;
}

bool is_older(const std::string& a, const std::string& b) {
  auto x = running_number(a), y = running_number(b);
  return x && y && static_cast<int32_t>(*x - *y) < 0; // the counter may wrap
}

result<void> bind_one(zmq::socket_t& socket, const std::string& endpoint) {
  auto path = socket_path(endpoint);
  if (!path.empty())
    if (auto prepared = prepare_socket_path(path); !prepared.ok())
      return prepared;
  try {
    socket.bind(endpoint);
  } catch (const zmq::error_t& e) {
    return {ec::io, "cannot listen at " + endpoint + ": " + e.what()};
  }
  if (!path.empty() && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0)
    return {ec::io, path.string() + ": " + std::strerror(errno)};
  return {};
}

} // namespace

router::router(zmq::context_t& context, const router_options& options)
    : socket_(context, zmq::socket_type::router), monitor_(context, zmq::socket_type::pair) {
  socket_.set(zmq::sockopt::router_mandatory, true);
  socket_.set(zmq::sockopt::sndhwm, options.queue_messages);
  // No limit here: a full receive queue makes libzmq 4.3 stop reading, and then a connection that
  // ends while a ZMTP heartbeat is due aborts the process (libzmq issues 3937, 4364, 4767).
  socket_.set(zmq::sockopt::rcvhwm, 0);
  socket_.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(options.largest_message_bytes));
  socket_.set(zmq::sockopt::heartbeat_ivl, milliseconds(options.heartbeat_interval));
  socket_.set(zmq::sockopt::heartbeat_timeout, milliseconds(options.heartbeat_timeout));
  socket_.set(zmq::sockopt::handshake_ivl, milliseconds(options.heartbeat_interval));
  socket_.set(zmq::sockopt::linger, 1000);
  socket_.set(zmq::sockopt::ipv6, true);
  if (options.keys) {
    socket_.set(zmq::sockopt::curve_server, true);
    socket_.set(zmq::sockopt::curve_secretkey, options.keys->secret_key);
    socket_.set(zmq::sockopt::zap_domain, "coel");
  }
  auto address = monitor_address();
  if (::zmq_socket_monitor(socket_.handle(), address.c_str(),
                           ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) != 0)
    throw zmq::error_t();
  monitor_.set(zmq::sockopt::linger, 0);
  monitor_.set(zmq::sockopt::rcvhwm, 0); // a full queue would stop libzmq's own thread
  monitor_.connect(address);
}

// libzmq's own thread would wait for ever to tell a monitor that is no longer there.
router::~router() {
  if (socket_.handle() != nullptr)
    (void)::zmq_socket_monitor(socket_.handle(), nullptr, 0);
}

result<router> router::open(zmq::context_t& context, const router_options& options) {
  try {
    router opened(context, options);
    for (const auto& endpoint : options.endpoints) {
      if (auto bound = bind_one(opened.socket_, endpoint); !bound.ok())
        return bound.err();
      opened.endpoints_.push_back(opened.socket_.get(zmq::sockopt::last_endpoint));
    }
    return opened;
  } catch (const zmq::error_t& e) {
    return {ec::io, std::string("cannot open a ROUTER socket: ") + e.what()};
  }
}

std::optional<router::message> router::receive() {
  zmq::message_t frame;
  while (socket_.recv(frame, zmq::recv_flags::dontwait)) {
    message in;
    in.peer = frame.to_string();
    int descriptor = receive_payload(in);
    read_events();
    if (remember(in.peer, descriptor))
      return in;
  }
  return std::nullopt;
}

// The frames after the routing id; returns the descriptor they came from.
int router::receive_payload(message& in) {
  zmq::message_t frame;
  size_t payloads = 0;
  int descriptor = -1;
  do {
    if (!socket_.recv(frame))
      break;
    descriptor = ::zmq_msg_get(frame.handle(), ZMQ_SRCFD);
    if (payloads == 0 && !in.delimited && frame.size() == 0 && frame.more()) {
      in.delimited = true;
    } else if (++payloads == 1) {
      const char* type = ::zmq_msg_gets(frame.handle(), "Socket-Type");
      in.one_reply = type != nullptr && std::strcmp(type, "REQ") == 0;
      in.payload.copy(frame);
    }
  } while (frame.more());
  in.well_formed = payloads == 1;
  return descriptor;
}

router::outcome router::send(const std::string& peer, bool delimited, const std::string& payload) {
  constexpr auto more = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
  try {
    if (!socket_.send(zmq::buffer(peer), more))
      return outcome::full;
    if (delimited)
      socket_.send(zmq::const_buffer(), more);
    socket_.send(zmq::buffer(payload), zmq::send_flags::dontwait);
    return outcome::sent;
  } catch (const zmq::error_t&) { // EHOSTUNREACH
    return outcome::gone;
  }
}

std::vector<std::string> router::take_gone() {
  read_events();
  return std::exchange(gone_, {});
}

void router::read_events() {
  zmq::message_t event, address;
  while (monitor_.recv(event, zmq::recv_flags::dontwait)) {
    if (event.more())
      (void)monitor_.recv(address);
    if (event.size() < sizeof(uint16_t) + sizeof(uint32_t))
      continue;
    uint16_t kind = 0;
    int32_t descriptor = 0;
    std::memcpy(&kind, event.data(), sizeof kind);
    std::memcpy(&descriptor, static_cast<const char*>(event.data()) + sizeof kind,
                sizeof descriptor);
    if (kind == ZMQ_EVENT_ACCEPTED) {
      forget(descriptor);
      open_.insert(descriptor);
    } else if (kind == ZMQ_EVENT_DISCONNECTED) {
      forget(descriptor);
    }
  }
}

// False for a message whose sender has gone already: nobody waits for its answer.
bool router::remember(const std::string& peer, int descriptor) {
  if (known_.contains(peer))
    return true;
  if (!open_.contains(descriptor))
    return false;
  if (auto owner = peer_of_.find(descriptor); owner != peer_of_.end()) {
    if (is_older(peer, owner->second))
      return false;
    known_.erase(owner->second);
    gone_.push_back(owner->second);
  }
  peer_of_[descriptor] = peer;
  known_.insert(peer);
  return true;
}

void router::forget(int descriptor) {
  open_.erase(descriptor);
  auto owner = peer_of_.find(descriptor);
  if (owner == peer_of_.end())
    return;
  known_.erase(owner->second);
  gone_.push_back(std::move(owner->second));
  peer_of_.erase(owner);
}

} // namespace coel::net
