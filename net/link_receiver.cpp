#include "net/link_receiver.hpp"

#include "net/endpoints.hpp"
#include "net/link_admission.hpp"
#include "net/link_connections.hpp"
#include "net/link_monitor.hpp"
#include "net/zap.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <netdb.h>
#include <optional>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace coel::net {

namespace {

constexpr int watched_events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED; // see link_monitor.hpp
constexpr size_t most_turned_away = 1024;
constexpr int frames_per_round = 64;   // then events and handshakes have their turn
constexpr int64_t curve_overhead = 64; // of an encrypted message
constexpr int handshake_timeout_ms = 3000;

class wake_up {
 public:
  wake_up() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~wake_up() {
    if (event_ >= 0)
      ::close(event_);
  }
  wake_up(const wake_up&) = delete;
  wake_up& operator=(const wake_up&) = delete;

  void signal() {
    uint64_t one = 1;
    (void)!::write(event_, &one, sizeof one); // fails only if it is readable already
  }
  void clear() {
    uint64_t count = 0;
    (void)!::read(event_, &count, sizeof count);
  }
  int descriptor() const { return event_; }

 private:
  int event_;
};

int milliseconds(std::chrono::milliseconds span) {
  return static_cast<int>(span.count());
}

void set_options(zmq::socket_t& socket, const receiver_options& options) {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::ipv6, true);
  // No limit here: a full receive queue makes libzmq 4.3 stop reading, and then a connection that
  // ends while a ZMTP heartbeat is due aborts the process (libzmq issues 3937, 4364, 4767).
  socket.set(zmq::sockopt::rcvhwm, 0);
  socket.set(zmq::sockopt::maxmsgsize,
             static_cast<int64_t>(options.largest_frame_bytes) + curve_overhead);
  socket.set(zmq::sockopt::heartbeat_ivl, milliseconds(options.heartbeat_interval));
  socket.set(zmq::sockopt::heartbeat_timeout, milliseconds(options.heartbeat_timeout));
  socket.set(zmq::sockopt::handshake_ivl, handshake_timeout_ms);
  socket.set(zmq::sockopt::curve_server, true);
  socket.set(zmq::sockopt::curve_secretkey, options.cluster.secret_key);
  socket.set(zmq::sockopt::zap_domain, "coel.link");
}

result<void> check(const receiver_options& options) {
  if (options.endpoints.empty())
    return {ec::bad_argument, "no endpoint to listen at for other nodes"};
  for (const auto& endpoint : options.endpoints) {
    auto kind = classify_endpoint(endpoint);
    if (!kind.ok())
      return kind.err();
    if (*kind == endpoint_kind::ipc)
      return {ec::bad_argument, "endpoint " + endpoint + ": links need tcp://HOST:PORT"};
  }
  if (auto checked = check_key(options.cluster.secret_key, "the cluster's secret key");
      !checked.ok())
    return checked;
  for (const auto* list : {&options.members, &options.expelled})
    for (const auto& key : *list)
      if (auto checked = check_key(key, "members and expelled nodes"); !checked.ok())
        return checked;
  return {};
}

/// "10.0.0.7", or nothing if the connection is gone already.
std::string peer_address(int descriptor) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  char text[NI_MAXHOST] = {};
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&at), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr*>(&at), size, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST) != 0)
    return {};
  return plain_address(text);
}

std::string property(zmq::message_t& message, const char* name) {
  const char* value = ::zmq_msg_gets(message.handle(), name);
  return value != nullptr ? value : "";
}

} // namespace

struct link_receiver::state {
  state(zmq::context_t& context, const receiver_options& options, receiver_handler h)
      : handler(std::move(h)),
        admission(options.members, options.expelled, options.handshakes_per_second),
        gate(context, [this](const auto& key, const auto& address) { return admit(key, address); }),
        socket(context, zmq::socket_type::router), monitor(context, socket, watched_events) {
    set_options(socket, options);
  }
  ~state() {
    stopping = true;
    wake.signal();
    if (thread.joinable())
      thread.join();
  }

  void run();
  void wait();
  bool admit(const std::string& key, const std::string& address);
  void receive_round();
  std::optional<zmq::message_t> receive();
  void deliver(zmq::message_t frame);
  void read_events();
  void refused(refusal why, const std::string& from);
  void disconnected(int descriptor);
  bool was_turned_away(const std::string& address);
  void close(int descriptor);
  void close_crowd();
  void close_expelled();
  void tell_gone(const std::optional<std::string>& key);

  receiver_handler handler;
  link_admission admission;
  zap_handler gate;
  zmq::socket_t socket;
  link_monitor monitor;
  wake_up wake;
  std::vector<std::string> endpoints;
  link_connections connections;
  std::mutex expelled_mutex;
  std::vector<std::string> newly_expelled;
  link_refusals refusals;
  std::unordered_map<std::string, uint32_t> turned_away; // connections by address, not yet closed
  std::atomic<uint64_t> frames{0}, bytes{0};
  std::array<std::atomic<uint64_t>, refusal_kinds> refusal_counts{};
  std::atomic<bool> stopping{false};
  std::thread thread;
};

void link_receiver::state::run() {
  while (!stopping)
    try {
      wait();
      wake.clear();
      gate.serve();
      close_expelled();
      receive_round();
      read_events();
      close_crowd();
    } catch (const zmq::error_t& e) {
      if (e.num() == ETERM)
        return;
    }
}

void link_receiver::state::wait() {
  std::array<zmq::pollitem_t, 4> items{{{nullptr, wake.descriptor(), ZMQ_POLLIN, 0},
                                        {gate.socket().handle(), 0, ZMQ_POLLIN, 0},
                                        {socket.handle(), 0, ZMQ_POLLIN, 0},
                                        {monitor.socket().handle(), 0, ZMQ_POLLIN, 0}}};
  zmq::poll(items, std::chrono::milliseconds(-1)); // EINTR throws; everything is looked at again
}

bool link_receiver::state::admit(const std::string& key, const std::string& address) {
  auto why = admission.objection(key, address, std::chrono::steady_clock::now());
  if (why) {
    refused(*why, *why == refusal::too_often ? address : address + " key=" + key);
    if (turned_away.size() < most_turned_away)
      ++turned_away[plain_address(address)];
  }
  return !why;
}

void link_receiver::state::refused(refusal why, const std::string& from) {
  auto line = refusals.note(why, from, std::chrono::steady_clock::now());
  refusal_counts[static_cast<size_t>(why)] = refusals.count(why);
  if (line && handler.on_refused)
    handler.on_refused(*line);
}

void link_receiver::state::receive_round() {
  for (int i = 0; i < frames_per_round; ++i) {
    zmq::message_t routing_id;
    if (!socket.recv(routing_id, zmq::recv_flags::dontwait))
      return;
    if (auto frame = receive())
      deliver(std::move(*frame));
  }
}

// The frame after the routing id; nothing if there are several.
std::optional<zmq::message_t> link_receiver::state::receive() {
  zmq::message_t frame, other;
  if (!socket.recv(frame))
    return std::nullopt;
  if (!frame.more())
    return frame;
  while (socket.recv(other) && other.more()) {
  }
  return std::nullopt;
}

void link_receiver::state::deliver(zmq::message_t frame) {
  int descriptor = ::zmq_msg_get(frame.handle(), ZMQ_SRCFD);
  auto key = property(frame, "User-Id");
  // A descriptor is closed only after its event was queued: with the events read after the frame,
  // what is known of its connection is right.
  if (connections.key_of(descriptor) != key)
    read_events();
  if (key.empty() || !connections.is_open(descriptor))
    return;
  auto address = plain_address(property(frame, "Peer-Address"));
  if (admission.is_expelled(key)) {
    refused(refusal::expelled, address + " key=" + key);
    return close(descriptor);
  }
  if (connections.key_of(descriptor) != key) {
    tell_gone(connections.heard(descriptor, key));
    if (auto oldest = connections.crowded(key)) {
      refused(refusal::crowded, address + " key=" + key);
      close(*oldest);
    }
  }
  ++frames;
  bytes += frame.size();
  handler.on_frame(key, address, std::move(frame));
}

void link_receiver::state::read_events() {
  while (auto happened = monitor.next()) {
    auto descriptor = static_cast<int>(happened->value);
    if (happened->kind == ZMQ_EVENT_ACCEPTED) {
      tell_gone(connections.closed(descriptor));
      connections.opened(descriptor, peer_address(descriptor));
    } else if (happened->kind == ZMQ_EVENT_DISCONNECTED) {
      disconnected(descriptor);
    }
  }
}

// A neighbour greets as soon as it may: who went without a word had no key, unless it was turned
// away for another reason or closed from here.
void link_receiver::state::disconnected(int descriptor) {
  const auto& address = connections.address_of(descriptor);
  bool silent = connections.is_open(descriptor) && connections.key_of(descriptor).empty();
  if (silent && !connections.is_closing(descriptor) && !was_turned_away(address))
    refused(refusal::no_key, address);
  tell_gone(connections.closed(descriptor));
}

bool link_receiver::state::was_turned_away(const std::string& address) {
  auto known = turned_away.find(address);
  if (known == turned_away.end())
    return false;
  if (--known->second == 0)
    turned_away.erase(known);
  return true;
}

void link_receiver::state::close_crowd() {
  while (auto one = connections.crowded()) {
    refused(refusal::crowded, connections.address_of(*one));
    close(*one);
  }
}

// libzmq has no call for this. It sees the end of the stream and closes the descriptor; until its
// event has been read, the number is not used for another connection of this socket.
void link_receiver::state::close(int descriptor) {
  read_events();
  if (connections.is_open(descriptor))
    ::shutdown(descriptor, SHUT_RDWR);
}

void link_receiver::state::close_expelled() {
  std::vector<std::string> keys;
  {
    std::lock_guard lock(expelled_mutex);
    keys.swap(newly_expelled);
  }
  for (const auto& key : keys)
    for (int descriptor : connections.of(key))
      close(descriptor);
}

void link_receiver::state::tell_gone(const std::optional<std::string>& key) {
  if (key)
    handler.on_gone(*key);
}

link_receiver::link_receiver(std::unique_ptr<state> s) : state_(std::move(s)) {}
link_receiver::~link_receiver() = default;

result<std::unique_ptr<link_receiver>>
link_receiver::start(zmq::context_t& context, receiver_options options, receiver_handler handler) {
  if (auto checked = check(options); !checked.ok())
    return checked.err();
  std::string what = "cannot receive from other nodes";
  try {
    auto made = std::make_unique<state>(context, options, std::move(handler));
    if (made->wake.descriptor() < 0)
      return {ec::io, what + ": " + std::strerror(errno)};
    for (const auto& endpoint : options.endpoints) {
      what = "cannot listen at " + endpoint;
      made->socket.bind(endpoint);
      made->endpoints.push_back(made->socket.get(zmq::sockopt::last_endpoint));
    }
    made->thread = std::thread([s = made.get()] { s->run(); });
    return std::unique_ptr<link_receiver>(new link_receiver(std::move(made)));
  } catch (const zmq::error_t& e) {
    return {ec::io, what + ": " + e.what()};
  }
}

void link_receiver::expel(const std::string& key) {
  state_->admission.expel(key);
  {
    std::lock_guard lock(state_->expelled_mutex);
    state_->newly_expelled.push_back(key);
  }
  state_->wake.signal();
}

receiver_counts link_receiver::counts() const {
  receiver_counts out{state_->frames, state_->bytes};
  std::copy(state_->refusal_counts.begin(), state_->refusal_counts.end(), out.refused.begin());
  auto of = [&](refusal kind) { return out.refused[static_cast<size_t>(kind)]; };
  out.refused_keys = of(refusal::not_member) + of(refusal::expelled) + of(refusal::too_often);
  out.failed_handshakes = of(refusal::no_key);
  return out;
}

const std::vector<std::string>& link_receiver::endpoints() const {
  return state_->endpoints;
}

} // namespace coel::net
