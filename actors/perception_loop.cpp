#include "actors/perception_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace coel::actors {

namespace {

using namespace std::chrono_literals;
using policy::moment;
using what = policy::neighbour_event::what;

constexpr size_t buffer_bytes = 9216; // a jumbo frame; more is no HELLO of anybody near
// A flood neither keeps HELLOs back nor takes a core: more than 64 datagrams in 10 ms are left to
// the system to drop.
constexpr int most_at_once = 64;
constexpr moment pause_in_flood = 10ms;
constexpr int validity_in_hellos = 3;
constexpr uint8_t never_forward = 0; // willingness: no daemon routes through us

moment now_of_system() {
  return std::chrono::duration_cast<moment>(std::chrono::steady_clock::now().time_since_epoch());
}

policy::heard_hello to_policy(const net::hello_message& x) {
  policy::heard_hello out{x.validity,
                          x.interval,
                          {policy::from_status_byte(x.compute), policy::from_status_byte(x.memory)},
                          {}};
  for (const auto& link : x.links)
    out.links.push_back({link.address, policy::link_status{static_cast<uint8_t>(link.link)},
                         link.neighbour != net::neighbour_type::not_neighbour});
  return out;
}

static_assert(static_cast<int>(policy::link_status::unspecified) ==
                  static_cast<int>(net::link_type::unspecified) &&
              static_cast<int>(policy::link_status::asymmetric) ==
                  static_cast<int>(net::link_type::asymmetric) &&
              static_cast<int>(policy::link_status::symmetric) ==
                  static_cast<int>(net::link_type::symmetric) &&
              static_cast<int>(policy::link_status::lost) ==
                  static_cast<int>(net::link_type::lost));

net::hello_link to_net(const policy::said_link& x) {
  return {x.address, net::link_type{static_cast<uint8_t>(x.link)},
          x.neighbour ? net::neighbour_type::symmetric : net::neighbour_type::not_neighbour};
}

} // namespace

struct perception_loop::outlet {
  uint32_t from = 0;                                 // the address that we are known by there
  std::optional<net::broadcast_interface> interface; // or
  net::udp_address peer;
};

struct perception_loop::news {
  policy::neighbours::events changed;
  std::vector<policy::ipv4_address> candidates;
  std::optional<error> trouble;
  std::optional<uint64_t> turned_away;
};

result<std::unique_ptr<perception_loop>> perception_loop::start(perception_options options,
                                                                perception_callbacks callbacks) {
  if (!options.broadcast && options.static_peers.empty())
    return {ec::bad_argument, "nobody to say HELLO to: allow broadcasts, or name static peers"};
  if (options.broadcast && options.bound.address != 0)
    return {ec::bad_argument, "bound to " + net::ipv4_text(options.bound.address) +
                                  ", no broadcast is heard: leave the address out, or turn "
                                  "broadcasts off and name static peers"};
  auto socket = net::udp_broadcast::open(options.bound);
  if (!socket.ok())
    return socket.err();
  auto there = net::broadcast_interfaces(options.interfaces);
  if (!there.ok())
    return there.err();
  int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake < 0)
    return {ec::io, std::string("eventfd: ") + std::strerror(errno)};
  std::unique_ptr<perception_loop> loop(
      new perception_loop(std::move(options), std::move(callbacks), std::move(*socket), wake));
  for (const auto& one : *there)
    loop->listened_.insert(one.index);
  loop->thread_ = std::thread([raw = loop.get()] { raw->run(); });
  return loop;
}

perception_loop::perception_loop(perception_options options, perception_callbacks callbacks,
                                 net::udp_broadcast socket, int wake)
    : options_(std::move(options)), callbacks_(std::move(callbacks)), socket_(std::move(socket)),
      wake_(wake), buffer_(buffer_bytes), table_(options_.table),
      schedule_(options_.hello, options_.seed, now_of_system()), attempts_(options_.attempts),
      sequence_(static_cast<uint16_t>(std::mt19937(options_.seed)())) {
  for (const auto& peer : options_.static_peers) {
    table_.protect(peer.address);
    attempts_.expect(peer.address);
  }
}

void perception_loop::set_status(const policy::node_load& load) {
  {
    std::lock_guard lock(mutex_);
    schedule_.set_load(load, now_of_system());
  }
  wake();
}

void perception_loop::set_connected(policy::ipv4_address address, bool connected) {
  std::lock_guard lock(mutex_);
  table_.set_connected(address, connected);
  if (connected)
    attempts_.succeeded(address);
}

perception_snapshot perception_loop::snapshot() const {
  std::lock_guard lock(mutex_);
  auto out = counters_;
  out.neighbours = table_.view(now_of_system());
  out.refused = table_.refused();
  return out;
}

void perception_loop::wake() {
  uint64_t one = 1;
  [[maybe_unused]] auto written = write(wake_, &one, sizeof one);
}

void perception_loop::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  if (thread_.get_id() == std::this_thread::get_id())
    return;
  std::call_once(joined_, [this] {
    if (thread_.joinable())
      thread_.join();
  });
}

perception_loop::~perception_loop() {
  stop();
  close(wake_);
}

void perception_loop::run() {
  while (wait())
    tell(work());
}

/// Until something arrives or is due. False: stop.
bool perception_loop::wait() {
  moment left;
  {
    std::lock_guard lock(mutex_);
    if (stopping_)
      return false;
    auto due = std::min(schedule_.next(), table_.next_deadline());
    left = std::clamp(due - now_of_system(), moment(0), moment(60s));
  }
  pollfd sources[] = {{wake_, POLLIN, 0}, {socket_.descriptor(), POLLIN, 0}};
  if (flooded_)
    left = std::min(left, pause_in_flood);
  poll(sources, flooded_ ? 1 : 2,
       static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count()));
  uint64_t count = 0;
  [[maybe_unused]] auto got = read(wake_, &count, sizeof count);
  std::lock_guard lock(mutex_);
  return !stopping_;
}

perception_loop::news perception_loop::work() {
  news out;
  std::lock_guard lock(mutex_);
  auto now = now_of_system();
  receive(now, out);
  if (table_.next_deadline() <= now)
    take(table_.advance(now), now, out);
  if (schedule_.next() <= now)
    say_hello(now, out);
  out.turned_away =
      turned_away_.due(counters_.hostile + table_.refused(), said_rarely::time_point(now));
  return out;
}

void perception_loop::receive(moment now, news& out) {
  flooded_ = false;
  for (int i = 0; i < most_at_once; ++i) {
    auto got = socket_.receive(buffer_);
    if (!got.ok() && !out.trouble)
      out.trouble = got.err();
    if (!got.ok() || !*got)
      return;
    const auto& one = **got;
    ++counters_.received;
    if (!is_wanted(one))
      continue;
    auto packet = net::decode_packet(std::span(buffer_).first(one.size));
    if (one.cut || !packet.ok()) {
      ++counters_.hostile;
      continue;
    }
    policy::heard_packet heard{one.local, one.source.address, packet->sequence, {}};
    if (packet->hellos.empty())
      take(table_.hear(heard, now), now, out);
    for (const auto& hello : packet->hellos) {
      heard.hello = to_policy(hello);
      take(table_.hear(heard, now), now, out);
    }
  }
  flooded_ = true;
}

bool perception_loop::is_wanted(const net::udp_broadcast::datagram& x) const {
  auto is_source = [&](const auto& peer) { return peer.address == x.source.address; };
  return options_.interfaces.empty() || listened_.contains(x.interface) ||
         std::any_of(options_.static_peers.begin(), options_.static_peers.end(), is_source);
}

void perception_loop::take(policy::neighbours::events events, moment now, news& out) {
  for (auto& event : events) {
    if (event.kind == what::symmetric)
      schedule_.newcomer();
    if (event.kind != what::heard)
      out.changed.push_back(event);
    else if (attempts_.admit(event.address, now))
      out.candidates.push_back(event.address);
    else
      ++counters_.limited;
  }
  if (table_.appeared() != appeared_)
    schedule_.newcomer();
  appeared_ = table_.appeared();
}

void perception_loop::say_hello(moment now, news& out) {
  take(table_.advance(now), now, out); // two-hop neighbours have no deadline of their own
  auto free = schedule_.send(now);
  ++sequence_;
  learn_own_addresses(out);
  auto all = outlets(out);
  if (all.empty() && !out.trouble)
    out.trouble = error{ec::io, "no interface is up that can broadcast, so nobody hears us: name "
                                "static peers, or see ip link"};
  for (const auto& to : all) {
    auto sent = send(to, free, now);
    counters_.sent += sent.ok();
    if (!sent.ok())
      out.trouble = sent.err();
  }
  if (!out.trouble)
    last_trouble_.clear();
}

void perception_loop::learn_own_addresses(news& out) {
  auto listed = net::own_addresses();
  if (!listed.ok()) {
    out.trouble = listed.err();
    return;
  }
  std::set<uint32_t> own(listed->begin(), listed->end());
  own.insert(options_.bound.address); // on loopback one may be bound to what is not listed
  table_.set_own(std::move(own));
}

/// Anew for each HELLO: cables are plugged and addresses leased while we run.
std::vector<perception_loop::outlet> perception_loop::outlets(news& out) {
  std::vector<outlet> all;
  auto interfaces = net::broadcast_interfaces(options_.interfaces);
  if (options_.broadcast && !interfaces.ok())
    out.trouble = interfaces.err();
  if (options_.broadcast && interfaces.ok()) {
    listened_.clear();
    for (auto& one : *interfaces) {
      listened_.insert(one.index);
      auto from = one.address;
      all.push_back({from, std::move(one), {}});
    }
  }
  for (const auto& peer : options_.static_peers) {
    auto from = options_.bound.address;
    if (from == 0)
      if (auto chosen = net::udp_broadcast::source_towards(peer); chosen.ok())
        from = *chosen; // else sending says why not
    all.push_back({from, {}, peer});
  }
  return all;
}

/// Each of our addresses speaks as a node of its own. An interface more than one is then no reason
/// for MID messages, and the handshake finds out who is whom.
result<void> perception_loop::send(const outlet& to, const policy::free_resources& free,
                                   moment now) {
  net::hello_message hello;
  hello.originator = to.from;
  hello.sequence = sequence_;
  hello.validity = options_.hello.interval * validity_in_hellos;
  hello.interval = options_.hello.interval;
  hello.compute = policy::to_status_byte(free.compute);
  hello.memory = policy::to_status_byte(free.memory);
  hello.willingness = never_forward;
  for (const auto& x : table_.say(to.from, now))
    hello.links.push_back(to_net(x));
  auto bytes = net::encode_packet({sequence_, {std::move(hello)}, 0});
  if (!bytes.ok())
    return bytes.err();
  return to.interface ? socket_.broadcast(*bytes, *to.interface, options_.bound.port)
                      : socket_.send(*bytes, to.from, to.peer);
}

void perception_loop::tell(const news& out) {
  auto stopped = [this] {
    std::lock_guard lock(mutex_);
    return stopping_;
  };
  for (const auto& x : out.changed)
    if (callbacks_.changed && !stopped())
      callbacks_.changed(x);
  for (auto x : out.candidates)
    if (callbacks_.candidate && !stopped())
      callbacks_.candidate(x);
  if (out.turned_away && callbacks_.turned_away && !stopped())
    callbacks_.turned_away(*out.turned_away);
  if (!out.trouble || out.trouble->message == last_trouble_ || stopped())
    return;
  last_trouble_ = out.trouble->message;
  if (callbacks_.trouble)
    callbacks_.trouble(*out.trouble);
}

} // namespace coel::actors
