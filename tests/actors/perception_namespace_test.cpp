// Broadcasts between network namespaces, and the program half of tests/cluster/olsr.sh.
#include "perception_support.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <fcntl.h>
#include <future>
#include <sched.h>
#include <unistd.h>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;
using what = policy::neighbour_event::what;

namespace {

constexpr policy::ipv4_address a_address = 0x0ac60001; // 10.198.0.1
constexpr policy::ipv4_address b_address = 0x0ac60002;

bool shell(const std::string& command) {
  return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
}

/// Two namespaces and a cable between them; nothing outside them is touched.
class cable {
 public:
  cable() : a("coel-a-" + std::to_string(getpid())), b("coel-b-" + std::to_string(getpid())) {
    laid_ = shell("ip netns add " + a + " && ip netns add " + b + " && ip -n " + a +
                  " link add coel0 type veth peer name coel0 netns " + b) &&
            plug(a, "10.198.0.1") && plug(b, "10.198.0.2");
  }
  ~cable() {
    shell("ip netns del " + a);
    shell("ip netns del " + b);
  }
  bool laid() const { return laid_; }
  bool pull() { return shell("ip -n " + a + " link set coel0 down"); }

  const std::string a, b;

 private:
  static bool plug(const std::string& where, const std::string& address) {
    return shell("ip -n " + where + " address add " + address + "/24 dev coel0 && ip -n " + where +
                 " link set coel0 up && ip -n " + where + " link set lo up");
  }
  bool laid_ = false;
};

/// Sockets and threads that `make` creates belong to the namespace.
template <class F>
auto inside(const std::string& space, F make) {
  return std::async(std::launch::async,
                    [&] {
                      int descriptor = open(("/run/netns/" + space).c_str(), O_RDONLY | O_CLOEXEC);
                      bool there = descriptor >= 0 && setns(descriptor, CLONE_NEWNET) == 0;
                      close(descriptor);
                      if (!there)
                        throw std::runtime_error("cannot enter " + space);
                      return make();
                    })
      .get();
}

policy::link_status status_of(const perception_snapshot& all, policy::ipv4_address address) {
  for (const auto& x : all.neighbours)
    if (x.address == address)
      return x.status;
  return policy::link_status::unspecified;
}

} // namespace

BOOST_AUTO_TEST_SUITE(perception_between_namespaces)

BOOST_AUTO_TEST_CASE(broadcasts_at_the_well_known_port_make_neighbours) {
  cable net;
  if (!net.laid()) {
    BOOST_TEST_MESSAGE("skipped: no network namespaces here (they need root, and ip of iproute2)");
    std::fputs("skipped: broadcasts between network namespaces (they need root, and ip)\n", stderr);
    return;
  }
  ears of_a, of_b;
  auto a = inside(net.a, [&] { return perception_loop::start(brisk(1), of_a.callbacks()); });
  auto b = inside(net.b, [&] { return perception_loop::start(brisk(2), of_b.callbacks()); });
  BOOST_REQUIRE(a.ok());
  BOOST_REQUIRE(b.ok());
  (*b)->set_status({70, 30});
  BOOST_REQUIRE(of_a.wait_for(what::symmetric, b_address));
  BOOST_REQUIRE(of_b.wait_for(what::symmetric, a_address));
  BOOST_TEST((status_of((*a)->snapshot(), b_address) == policy::link_status::symmetric));
  BOOST_TEST((*a)->snapshot().neighbours.size() == 1u); // and not itself
  BOOST_TEST((of_a.candidates() == std::vector{b_address}));
  BOOST_REQUIRE(net.pull());
  BOOST_TEST(of_a.wait_for(what::lost, b_address));
  BOOST_TEST(of_b.wait_for(what::lost, a_address));
  BOOST_REQUIRE(of_a.wait_for_trouble());
  BOOST_TEST(of_a.troubles()[0].message.find("no interface is up") != std::string::npos);
}

// Speaks and listens in the namespace where it is started until COEL_OLSR_PEER is symmetric, then
// for COEL_OLSR_SECONDS more, and prints its table.
BOOST_AUTO_TEST_CASE(beside_a_daemon, *boost::unit_test::disabled()) {
  const char* name = std::getenv("COEL_OLSR_PEER");
  const char* seconds = std::getenv("COEL_OLSR_SECONDS");
  BOOST_REQUIRE(name);
  auto peer = net::parse_udp_address(name, net::olsr_port);
  BOOST_REQUIRE(peer.ok());
  ears heard;
  auto loop = perception_loop::start({}, heard.callbacks());
  BOOST_REQUIRE(loop.ok());
  (*loop)->set_status({55, 100});
  BOOST_TEST(heard.wait_for(what::symmetric, peer->address));
  std::this_thread::sleep_for(std::chrono::seconds(seconds ? std::atoi(seconds) : 1));
  auto seen = (*loop)->snapshot();
  for (const auto& x : seen.neighbours) {
    std::printf("neighbour %s status %d quality %.2f two-hop", net::ipv4_text(x.address).c_str(),
                static_cast<int>(x.status), x.quality);
    for (auto two : x.two_hop)
      std::printf(" %s", net::ipv4_text(two).c_str());
    std::printf("\n");
  }
  std::printf("received %lu hostile %lu\n", static_cast<unsigned long>(seen.received),
              static_cast<unsigned long>(seen.hostile));
  BOOST_TEST(seen.hostile == 0u);
  BOOST_TEST((status_of(seen, peer->address) == policy::link_status::symmetric));
  BOOST_TEST(heard.count(what::lost, peer->address) == 0u);
  BOOST_TEST(heard.candidates().empty()); // a plain daemon is nobody to connect to
}

BOOST_AUTO_TEST_SUITE_END()
