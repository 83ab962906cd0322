// The thread that says HELLO and listens: joins the socket (net/udp_broadcast), the packets
// (net/hello) and the decisions (policy/neighbours, policy/perception). It is here and not in net/
// because net/ may not know policy/; there is no actor in it.
//
// What it tells comes from unauthenticated packets. It never decides whether a connection stands:
// `lost` is a reason to look after one, and a candidate becomes a peer by the handshake only.
#pragma once

#include "common/said_rarely.hpp"
#include "net/hello.hpp"
#include "net/udp_broadcast.hpp"
#include "policy/neighbours.hpp"
#include "policy/perception.hpp"
#include "policy/perception_attempts.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace coel::actors {

struct perception_options {
  net::udp_address bound{0, net::olsr_port}; ///< an address instead of 0: static peers only
  bool broadcast = true;
  std::vector<std::string> interfaces;        ///< to broadcast on; empty: all that can
  std::vector<net::udp_address> static_peers; ///< get each HELLO by unicast; they must name us too
  policy::hello_options hello;
  policy::neighbour_options table;
  policy::attempt_options attempts;
  uint32_t seed = 0; ///< of jitter and first packet number; different on each start
};

/// Called on the loop's thread, without its lock; must not block, and must not destroy the loop.
struct perception_callbacks {
  /// A neighbour became symmetric, was lost, or says other free resources.
  std::function<void(const policy::neighbour_event&)> changed;
  /// A connection to this address may be tried now.
  std::function<void(policy::ipv4_address)> candidate;
  /// HELLOs do not get out. Once for the same trouble until it is over.
  std::function<void(const error&)> trouble;
  /// Packets were no HELLOs, or there were too many to know all who sent them. Once a minute at
  /// most; `times` since it was told last.
  std::function<void(uint64_t times)> turned_away;
};

struct perception_snapshot {
  std::vector<policy::neighbour_view> neighbours;
  uint64_t sent = 0;     ///< datagrams
  uint64_t received = 0; ///< datagrams, whatever was in them
  uint64_t hostile = 0;  ///< of these, no OLSR packets
  uint64_t refused = 0;  ///< no place in the table
  uint64_t limited = 0;  ///< candidates that were not tried, as there were too many
};

class perception_loop {
 public:
  /// Errors: io (the port), bad_argument (an interface that does not exist, nobody to say HELLO
  /// to).
  static result<std::unique_ptr<perception_loop>> start(perception_options options,
                                                        perception_callbacks callbacks);
  ~perception_loop();
  perception_loop(const perception_loop&) = delete;
  perception_loop& operator=(const perception_loop&) = delete;

  // From any thread:

  /// What is free here. A large change is said at once.
  void set_status(const policy::node_load& load);

  /// A handshake with this address was good, or its connection ended.
  void set_connected(policy::ipv4_address address, bool connected);

  perception_snapshot snapshot() const;

  /// No callback starts after it returns; called by a callback, none starts after that one.
  void stop();

 private:
  struct outlet; // somebody to say HELLO to, or everybody at an interface
  struct news;   // what callbacks are to be told

  perception_loop(perception_options options, perception_callbacks callbacks,
                  net::udp_broadcast socket, int wake);
  void run();
  bool wait();
  void wake();
  news work();
  void receive(policy::moment now, news& out);
  bool is_wanted(const net::udp_broadcast::datagram& x) const;
  void take(policy::neighbours::events events, policy::moment now, news& out);
  void say_hello(policy::moment now, news& out);
  void learn_own_addresses(news& out);
  std::vector<outlet> outlets(news& out);
  result<void> send(const outlet& to, const policy::free_resources& free, policy::moment now);
  void tell(const news& out);

  const perception_options options_;
  const perception_callbacks callbacks_;
  net::udp_broadcast socket_;
  const int wake_; // eventfd
  std::vector<uint8_t> buffer_;
  std::set<unsigned> listened_; // indices of interfaces, if the options name some
  std::string last_trouble_;
  bool flooded_ = false;

  mutable std::mutex mutex_; // of what follows
  bool stopping_ = false;
  policy::neighbours table_;
  policy::hello_schedule schedule_;
  policy::attempt_limiter attempts_;
  perception_snapshot counters_;
  said_rarely turned_away_;
  uint64_t appeared_ = 0;
  uint16_t sequence_;

  std::once_flag joined_;
  std::thread thread_;
};

} // namespace coel::actors
