// The socket over loopback, and what it says when it cannot.
#include "net/udp_broadcast.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace coel;
using namespace coel::net;

namespace {

constexpr uint32_t loopback(uint8_t last) {
  return 0x7f000000u | last;
}

/// A port that was free a moment ago.
uint16_t free_port() {
  static uint16_t next = static_cast<uint16_t>(20000 + getpid() % 20000);
  while (!udp_broadcast::open({loopback(1), ++next}).ok()) {
  }
  return next;
}

std::optional<udp_broadcast::datagram> receive(udp_broadcast& from, std::span<uint8_t> buffer) {
  pollfd source{from.descriptor(), POLLIN, 0};
  poll(&source, 1, 5000);
  auto got = from.receive(buffer);
  return got.ok() ? *got : std::nullopt;
}

} // namespace

BOOST_AUTO_TEST_SUITE(udp)

BOOST_AUTO_TEST_CASE(addresses_are_read_strictly) {
  BOOST_TEST((*parse_udp_address("10.0.0.7", 698) == udp_address{0x0a000007, 698}));
  BOOST_TEST((*parse_udp_address("10.0.0.7:1698", 698) == udp_address{0x0a000007, 1698}));
  for (auto bad : {"", "10.0.0", "10.0.0.7:", "10.0.0.7:0", "10.0.0.7:70000", "10.0.0.7:-1", "host",
                   "10.0.0.7:1 ", "10.0.0.256", "::1", "10.0.0.7:698:1"}) {
    auto got = parse_udp_address(bad, 698);
    BOOST_REQUIRE(!got.ok());
    BOOST_TEST((got.err().code == ec::bad_argument));
    BOOST_TEST(got.err().message.find(bad) != std::string::npos);
  }
  BOOST_TEST(ipv4_text(0x0a00ff07) == "10.0.255.7");
}

BOOST_AUTO_TEST_CASE(a_datagram_arrives_with_both_its_addresses) {
  auto port = free_port();
  auto a = udp_broadcast::open({loopback(2), port});
  auto b = udp_broadcast::open({0, port});
  BOOST_REQUIRE(a.ok());
  BOOST_REQUIRE(b.ok());
  std::array<uint8_t, 16> buffer{};
  BOOST_TEST(!*b->receive(buffer)); // nothing yet, and no waiting
  std::array<uint8_t, 3> bytes{1, 2, 3};
  BOOST_REQUIRE(a->send(bytes, loopback(2), {loopback(3), port}).ok());
  auto got = receive(*b, buffer);
  BOOST_REQUIRE(got);
  BOOST_TEST((got->source == udp_address{loopback(2), port}));
  BOOST_TEST(got->local == loopback(3));
  BOOST_TEST(!got->broadcast);
  BOOST_TEST(!got->cut);
  BOOST_TEST(got->size == 3u);
  BOOST_TEST(buffer[2] == 3);
  BOOST_REQUIRE(
      b->send(bytes, loopback(9), {loopback(2), port}).ok()); // the source is ours to choose
  got = receive(*a, std::span(buffer).first(2));
  BOOST_REQUIRE(got);
  BOOST_TEST((got->source == udp_address{loopback(9), port}));
  BOOST_TEST(got->cut);
  BOOST_TEST(got->size == 2u);
}

BOOST_AUTO_TEST_CASE(nobody_there_is_no_error_of_later_calls) {
  auto port = free_port();
  auto a = udp_broadcast::open({loopback(2), port});
  BOOST_REQUIRE(a.ok());
  std::array<uint8_t, 3> bytes{1, 2, 3};
  std::array<uint8_t, 16> buffer{};
  for (int i = 0; i < 5; ++i) {
    BOOST_TEST(a->send(bytes, 0, {loopback(8), port}).ok());
    BOOST_TEST(a->receive(buffer).ok());
  }
}

BOOST_AUTO_TEST_CASE(the_source_is_the_one_the_system_chooses) {
  BOOST_TEST(*udp_broadcast::source_towards({loopback(7), 698}) == loopback(1));
}

BOOST_AUTO_TEST_CASE(interfaces_and_addresses_are_those_of_the_machine) {
  auto own = own_addresses();
  BOOST_REQUIRE(own.ok());
  BOOST_TEST(std::count(own->begin(), own->end(), loopback(1)) == 1);
  auto all = broadcast_interfaces({});
  BOOST_REQUIRE(all.ok());
  for (const auto& x : *all) {
    BOOST_TEST(x.name != "lo");
    BOOST_TEST(x.index > 0u);
    BOOST_TEST(x.broadcast != x.address);
    BOOST_TEST(std::count(own->begin(), own->end(), x.address) > 0);
    BOOST_TEST(broadcast_interfaces({x.name})->size() >= 1u);
  }
  BOOST_TEST(broadcast_interfaces({"lo"})->empty());
  auto none = broadcast_interfaces({"no-such-if"});
  BOOST_TEST((none.err().code == ec::bad_argument));
  BOOST_TEST(none.err().message.find("no-such-if") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_port_that_cannot_be_had_says_what_to_set) {
  auto elsewhere = udp_broadcast::open({0xc0000201, 20000}); // 192.0.2.1: for documentation only
  BOOST_REQUIRE(!elsewhere.ok());
  BOOST_TEST((elsewhere.err().code == ec::io));
  BOOST_TEST(elsewhere.err().message.find("no such address") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_port_that_needs_a_privilege_says_what_to_set) {
  pid_t child = fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) { // 0: refused with the advice, 1: with another text, 2: this user may
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
      _exit(2);
    auto low = udp_broadcast::open({loopback(1), 698});
    _exit(low.ok() ? 2
                   : low.err().message.find("CAP_NET_BIND_SERVICE: set hello-port") ==
                         std::string::npos);
  }
  int status = -1;
  BOOST_REQUIRE_EQUAL(waitpid(child, &status, 0), child);
  BOOST_REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2)
    BOOST_TEST_MESSAGE("skipped: any user may bind port 698 here");
  BOOST_TEST(WEXITSTATUS(status) != 1);
}

BOOST_AUTO_TEST_SUITE_END()
