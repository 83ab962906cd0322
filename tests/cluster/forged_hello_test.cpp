// HELLOs that somebody forges or sends again: at most connections that the handshake refuses,
// tables of bounded size, and no answer changed.
#include "tests/cluster/closed_support.hpp"
#include "tests/cluster/forger.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <random>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace coel;
using namespace coel::testing;
using namespace std::chrono_literals;

namespace {

/// The first datagram that somebody else sends to that address.
std::vector<uint8_t> captured_hello(const std::string& at, const std::string& from) {
  auto socket = std::move(*net::udp_broadcast::open({ipv4(at), hello_port}));
  std::vector<uint8_t> buffer(2048);
  std::optional<size_t> size;
  test_cluster::wait_for([&] { return "a HELLO of " + from; },
                         [&] {
                           auto got = socket.receive(buffer);
                           if (got.ok() && *got && (*got)->source.address == ipv4(from))
                             size = (*got)->size;
                           return size.has_value();
                         });
  buffer.resize(*size);
  return buffer;
}

/// The peers of each node are those of the file and this address.
node_options with_peer(std::function<std::string(const test_cluster&)> peer, test_cluster*& all) {
  node_options o;
  o.start_all = false;
  o.adjust = [=, &all](size_t, actors::node_config& c) { c.cluster->peers = {peer(*all)}; };
  return o;
}

/// A third party, whose address somebody forges: counts who connects, and answers nothing.
class victim {
 public:
  explicit victim(const std::string& address)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(7420);
    at.sin_addr.s_addr = htonl(ipv4(address));
    BOOST_REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    BOOST_REQUIRE(::listen(fd_, 1000) == 0);
  }
  ~victim() {
    for (int one : connected_)
      ::close(one);
    ::close(fd_);
  }
  victim(const victim&) = delete;
  victim& operator=(const victim&) = delete;

  size_t connections() {
    for (int one = ::accept(fd_, nullptr, nullptr); one >= 0; one = ::accept(fd_, nullptr, nullptr))
      connected_.push_back(one);
    return connected_.size();
  }

 private:
  int fd_;
  std::vector<int> connected_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(forged_hello)

BOOST_AUTO_TEST_CASE(a_replayed_hello_opens_nothing) {
  test_cluster* at = nullptr;
  test_cluster all(2, with_peer([](const auto& c) { return network_of(c) + "200"; }, at));
  at = &all;
  auto net = network_of(all);
  all.start(0);
  all.start(1);
  auto packet = captured_hello(net + "200", net + "2");
  all.settle();
  auto tokens = some_tokens(12);
  auto whole = must(all.logits(0, tokens));
  application app(all.node(0).endpoints().front());
  all.kill(1);
  forger mallory;
  for (int i = 0; i < 500; ++i) {
    BOOST_TEST(mallory.say(net + "2", net + "1", packet));
    if (i % 100 == 0)
      BOOST_TEST(same_answer(must(all.logits(0, tokens)), whole));
  }
  auto told = app.cluster();
  while (told["hello"]["received"].get<uint64_t>() <= 100) { // a busy machine drops some
    BOOST_TEST(mallory.say(net + "2", net + "1", packet));
    told = app.cluster();
  }
  for (const auto& l : told["links"])
    BOOST_TEST(l["state"] != "up", l.dump());
  all.start(1); // and the true one is let in
  all.settle();
  BOOST_TEST(same_answer(must(all.logits(1, tokens)), whole));
}

BOOST_AUTO_TEST_CASE(thousands_of_forged_senders_are_bounded) {
  test_cluster all(2);
  all.settle();
  auto net = network_of(all);
  auto tokens = some_tokens(12);
  auto whole = must(all.logits(0, tokens));
  application app(all.node(0).endpoints().front());
  forger mallory;
  victim third(net + "99");
  auto claim = std::vector<net::hello_link>{
      {ipv4(net + "1"), net::link_type::symmetric, net::neighbour_type::symmetric}};
  for (uint16_t k = 1; k < 5; ++k)
    mallory.hello(net + "99", net + "1", k, 100, claim);
  test_cluster::wait_for([] { return "an attempt at the third party"; },
                         [&] { return third.connections() > 0; });
  std::mt19937 random(1);
  for (uint32_t i = 0; i < 6000; ++i) {
    auto from = "127." + std::to_string(random() % 250 + 1) + "." +
                std::to_string(random() % 250 + 1) + "." + std::to_string(random() % 250 + 1);
    for (uint16_t k = 1; k <= (i % 10 == 0 ? 4 : 1); ++k)
      mallory.hello(from, net + "1", k, 100, claim);
    if (i % 10 == 0) // in the name of the true neighbour: it lost us, and has nothing to spare
      mallory.hello(net + "2", net + "1", static_cast<uint16_t>(i), 0,
                    {{ipv4(net + "1"), net::link_type::lost, net::neighbour_type::not_neighbour}});
    mallory.hello(net + "99", net + "1", static_cast<uint16_t>(i + 5), 100, claim);
    if (i % 1000 == 0)
      BOOST_TEST(same_answer(must(all.logits(0, tokens)), whole));
    if (i % 20 == 0)
      std::this_thread::sleep_for(1ms); // that it is read, not dropped by the system
  }
  BOOST_TEST(third.connections() < 40u); // of thousands of HELLOs in its name
  auto told = app.cluster();
  BOOST_TEST(told["hello"]["received"].get<uint64_t>() > 1000u);
  BOOST_TEST(told["hello"]["heard"].size() <= 256u);
  BOOST_TEST(told["hello"]["refused"].get<uint64_t>() > 0u);
  BOOST_TEST(told["hello"]["limited"].get<uint64_t>() > 0u);
  BOOST_TEST(told["links"].size() <= 64u);
  for (const auto& l : told["links"])
    BOOST_TEST((l["name"] == "node1" || l["state"] != "up"), l.dump());
  all.settle(); // that HELLOs said it was lost did nothing to the link
  BOOST_TEST(same_answer(must(all.logits(0, tokens)), whole));
}

BOOST_AUTO_TEST_SUITE_END()
