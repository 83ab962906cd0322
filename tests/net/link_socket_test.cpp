// Connections between nodes: who is let in, what arrives, and who is gone.
#include "net/link_admission.hpp"
#include "net/link_connections.hpp"
#include "tests/net/link_nodes.hpp"
#include "tests/net/raw_peer.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;
using event = link_sender::event;

namespace {

struct two_keys {
  cluster_file cluster = *make_cluster("home");
  key_pair a = *generate_keys(), b = *generate_keys();
  const std::string& server_key = cluster.keys.public_key;
};

bool counted(link_node& node, uint64_t receiver_counts::*which, uint64_t at_least) {
  for (int i = 0; i < 2000; ++i) {
    if (node.receiver().counts().*which >= at_least)
      return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

std::string open_refusal(const sender_options& options) {
  zmq::context_t context;
  auto opened = link_sender::open(context, options);
  BOOST_REQUIRE(!opened.ok());
  BOOST_TEST((opened.err().code == ec::bad_argument));
  return opened.err().message;
}

error start_refusal(const receiver_options& options) {
  zmq::context_t context;
  auto started = link_receiver::start(context, options, {});
  BOOST_REQUIRE(!started.ok());
  return started.err();
}

} // namespace

BOOST_AUTO_TEST_SUITE(link_sockets)

BOOST_FIXTURE_TEST_CASE(frames_arrive_with_their_senders_key, two_keys) {
  link_node one(cluster), other(cluster);
  link_client to_one(one.endpoint(), a, server_key), to_other(other.endpoint(), b, server_key);
  BOOST_REQUIRE(to_one.wait_for(event::connected));
  BOOST_REQUIRE(to_other.wait_for(event::connected));
  for (int i = 0; i < 200; ++i) {
    BOOST_REQUIRE(to_one.send("one " + std::to_string(i)));
    BOOST_REQUIRE(to_other.send("other " + std::to_string(i)));
  }
  BOOST_REQUIRE(one.eventually([&] { return one.arrivals().size() == 200; }));
  BOOST_REQUIRE(other.eventually([&] { return other.arrivals().size() == 200; }));
  auto to_one_came = one.arrivals(), to_other_came = other.arrivals();
  for (size_t i = 0; i < 200; ++i) {
    const auto& in = to_one_came[i];
    BOOST_TEST(in.key == a.public_key);
    BOOST_TEST(in.address == "127.0.0.1");
    BOOST_TEST(decode_goodbye(in.frame)->reason == "one " + std::to_string(i));
    BOOST_TEST(to_other_came[i].key == b.public_key);
  }
  auto counts = one.receiver().counts();
  BOOST_TEST(counts.frames == 200u);
  BOOST_TEST(counts.bytes > 200u * 10);
  BOOST_TEST(counts.refused_keys == 0u);
  BOOST_TEST(one.gone().empty());
}

BOOST_FIXTURE_TEST_CASE(large_frames_pass_and_larger_ones_end_the_connection, two_keys) {
  receiver_options options;
  options.largest_frame_bytes = 1u << 20;
  link_node node(cluster, options);
  link_client client(node.endpoint(), a, server_key);
  BOOST_REQUIRE(client.wait_for(event::connected));
  zmq::message_t large(1u << 20), larger((1u << 20) + 1000);
  BOOST_TEST((client.sender().send(large) == link_sender::outcome::sent));
  BOOST_REQUIRE(node.eventually([&] { return node.arrivals().size() == 1; }));
  BOOST_TEST(node.arrivals()[0].frame.size() == 1u << 20);
  BOOST_TEST((client.sender().send(larger) == link_sender::outcome::sent));
  BOOST_TEST(client.wait_for(event::lost).has_value());
  BOOST_TEST(node.eventually([&] { return node.gone() == std::vector{a.public_key}; }));
  BOOST_TEST(node.arrivals().size() == 1u);
}

BOOST_FIXTURE_TEST_CASE(nothing_is_taken_before_the_connection, two_keys) {
  link_client client("tcp://127.0.0.1:1", a, server_key);
  auto frame = encode(goodbye_frame{"x"});
  auto size = frame.size();
  BOOST_TEST((client.sender().send(frame) == link_sender::outcome::full));
  BOOST_TEST(frame.size() == size); // still the caller's
  auto lost = client.wait_for(event::lost);
  BOOST_REQUIRE(lost.has_value());
  BOOST_TEST(lost->find("nobody listens at tcp://127.0.0.1:1") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(the_queue_is_bounded, two_keys) {
  link_node node(cluster);
  sender_options options{node.endpoint(), a, server_key};
  options.queue_messages = 4;
  link_client client(options);
  BOOST_REQUIRE(client.wait_for(event::connected));
  std::vector<std::byte> content(max_block_bytes);
  uint64_t sent = 0;
  for (bool full = false; !full && sent < 100000;) { // more than sockets of any system hold
    auto frame = encode(block_frame{sent, max_block_bytes, {}}, content);
    full = client.sender().send(frame) == link_sender::outcome::full;
    sent += full ? 0 : 1;
  }
  BOOST_TEST(sent >= 4u);
  BOOST_TEST(sent < 100000u);
  BOOST_TEST(
      node.eventually([&] { return node.arrived_from(a.public_key) == sent; })); // none is lost
}

BOOST_FIXTURE_TEST_CASE(another_cluster_is_refused, two_keys) {
  link_node node(cluster);
  auto other = *make_cluster("home");
  link_client client(node.endpoint(), a, other.keys.public_key);
  auto refused = client.wait_for(event::refused);
  BOOST_REQUIRE(refused.has_value());
  BOOST_TEST(refused->find("another cluster file") != std::string::npos, *refused);
  BOOST_TEST(counted(node, &receiver_counts::failed_handshakes, 1));
  BOOST_TEST(node.receiver().counts().refused_keys == 0u); // it does not come that far
}

BOOST_FIXTURE_TEST_CASE(a_key_without_membership_is_refused, two_keys) {
  receiver_options options;
  options.members = {b.public_key};
  link_node node(cluster, options);
  link_client stranger(node.endpoint(), a, server_key);
  auto refused = stranger.wait_for(event::refused);
  BOOST_REQUIRE(refused.has_value());
  BOOST_TEST(refused->find("members") != std::string::npos, *refused);
  BOOST_TEST(counted(node, &receiver_counts::refused_keys, 1));
  link_client member(node.endpoint(), b, server_key);
  BOOST_REQUIRE(member.wait_for(event::connected));
  BOOST_TEST(member.send("hello"));
  BOOST_TEST(node.eventually([&] { return node.arrived_from(b.public_key) == 1; }));
  BOOST_TEST(node.arrived_from(a.public_key) == 0u);
}

BOOST_FIXTURE_TEST_CASE(an_expelled_key_is_refused_even_if_it_is_a_member, two_keys) {
  receiver_options options;
  options.members = {a.public_key, b.public_key};
  options.expelled = {a.public_key};
  link_node node(cluster, options);
  link_client client(node.endpoint(), a, server_key);
  BOOST_TEST(client.wait_for(event::refused).has_value());
  BOOST_TEST(node.receiver().counts().refused_keys >= 1u);
}

BOOST_FIXTURE_TEST_CASE(expelled_while_connected, two_keys) {
  link_node node(cluster);
  link_client bad(node.endpoint(), a, server_key), good(node.endpoint(), b, server_key);
  BOOST_REQUIRE(bad.send("1"));
  BOOST_REQUIRE(good.send("1"));
  BOOST_REQUIRE(node.eventually([&] { return node.arrivals().size() == 2; }));
  node.receiver().expel(a.public_key);
  BOOST_TEST(bad.wait_for(event::lost).has_value());
  BOOST_TEST(bad.wait_for(event::refused).has_value()); // libzmq tried once more
  BOOST_TEST(node.eventually([&] { return node.gone() == std::vector{a.public_key}; }));
  BOOST_REQUIRE(good.send("2"));
  BOOST_TEST(node.eventually([&] { return node.arrived_from(b.public_key) == 2; }));
  BOOST_TEST(node.arrived_from(a.public_key) == 1u);
  BOOST_TEST(node.receiver().counts().refused_keys >= 1u);
}

BOOST_FIXTURE_TEST_CASE(expelled_before_its_first_frame, two_keys) {
  link_node node(cluster);
  link_client bad(node.endpoint(), a, server_key);
  BOOST_REQUIRE(bad.wait_for(event::connected));
  node.receiver().expel(a.public_key); // which connection is its own is not known yet
  BOOST_REQUIRE(bad.send("1"));
  BOOST_TEST(bad.wait_for(event::lost).has_value());
  BOOST_TEST(bad.wait_for(event::refused).has_value());
  BOOST_TEST(counted(node, &receiver_counts::refused_keys, 2)); // the frame, and the reconnection
  BOOST_TEST(node.arrivals().empty());
}

BOOST_FIXTURE_TEST_CASE(gone_when_the_last_connection_of_a_key_is, two_keys) {
  link_node node(cluster);
  {
    std::optional<link_client> first, second;
    first.emplace(node.endpoint(), a, server_key);
    BOOST_REQUIRE(first->send("1"));
    second.emplace(node.endpoint(), a, server_key);
    BOOST_REQUIRE(second->send("2"));
    BOOST_REQUIRE(node.eventually([&] { return node.arrivals().size() == 2; }));
    first.reset();
    link_client other(node.endpoint(), b, server_key);
    BOOST_REQUIRE(other.send("3"));
    BOOST_REQUIRE(node.eventually([&] { return node.arrivals().size() == 3; }));
  }
  auto times_gone = [&](const std::string& key) {
    auto gone = node.gone();
    return std::count(gone.begin(), gone.end(), key);
  };
  BOOST_TEST(node.eventually(
      [&] { return times_gone(a.public_key) > 0 && times_gone(b.public_key) > 0; }));
  BOOST_TEST(node.gone().size() == 2u);
}

BOOST_FIXTURE_TEST_CASE(a_receiver_that_ends_is_lost_and_found_again, two_keys) {
  zmq::context_t context;
  std::string endpoint;
  std::optional<link_client> client;
  {
    link_node node(cluster);
    endpoint = node.endpoint();
    client.emplace(endpoint, a, server_key);
    BOOST_REQUIRE(client->wait_for(event::connected));
  }
  BOOST_REQUIRE(client->wait_for(event::lost));
  receiver_options options;
  options.endpoints = {endpoint};
  options.cluster = cluster.keys;
  auto again = link_receiver::start(context, options, {[](auto&, auto&, auto) {}, [](auto&) {}});
  BOOST_REQUIRE(again.ok());
  BOOST_TEST(client->wait_for(event::connected).has_value());
}

#if !defined(__SANITIZE_THREAD__) // which has no threads after a fork
// A process that stops without a word: its sockets stay open, and only the heartbeat tells.
BOOST_FIXTURE_TEST_CASE(a_silent_death_is_noticed_by_the_heartbeat, two_keys) {
  link_node node(cluster);
  auto endpoint = node.endpoint();
  auto child = ::fork();
  if (child == 0) {
    ::alarm(120);
    zmq::context_t context; // nothing of the parent's is used
    auto opened = link_sender::open(context, {endpoint, a, server_key});
    for (;; std::this_thread::sleep_for(10ms)) {
      auto frame = encode(goodbye_frame{"alive"});
      if (opened.ok())
        (void)opened->send(frame);
    }
  }
  BOOST_REQUIRE(child > 0);
  bool came = node.eventually([&] { return node.arrived_from(a.public_key) > 0; });
  ::kill(child, SIGSTOP);
  bool noticed = node.eventually([&] { return !node.gone().empty(); });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  BOOST_TEST(came);
  BOOST_TEST(noticed);
}

#endif

BOOST_FIXTURE_TEST_CASE(strangers_do_not_get_past_the_handshake, two_keys) {
  link_node node(cluster);
  raw_peer in_the_clear(node.endpoint()), nonsense(node.endpoint());
  std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL", 16);
  greeting.resize(64, '\0');
  in_the_clear.write(greeting);
  nonsense.write(std::string(200, 'x'));
  BOOST_TEST(in_the_clear.closed_by_peer());
  BOOST_TEST(counted(node, &receiver_counts::failed_handshakes, 1));
  link_client client(node.endpoint(), a, server_key);
  BOOST_TEST(client.send("still here"));
  BOOST_TEST(node.eventually([&] { return node.arrived_from(a.public_key) == 1; }));
}

BOOST_FIXTURE_TEST_CASE(too_many_handshakes_of_one_address, two_keys) {
  receiver_options options;
  options.handshakes_per_second = 0.001; // the first only, as long as this test runs
  link_node node(cluster, options);
  link_client first(node.endpoint(), a, server_key);
  BOOST_REQUIRE(first.wait_for(event::connected));
  link_client second(node.endpoint(), b, server_key);
  BOOST_TEST(second.wait_for(event::refused).has_value());
  BOOST_TEST(node.receiver().counts().refused_keys == 1u);
  BOOST_TEST(first.send("as before"));
  BOOST_TEST(node.eventually([&] { return node.arrived_from(a.public_key) == 1; }));
}

BOOST_FIXTURE_TEST_CASE(what_is_not_opened, two_keys) {
  sender_options sender{"tcp://127.0.0.1:7420", a, server_key};
  for (const char* endpoint : {"", "nonsense", "ipc:///tmp/x", "tcp://127.0.0.1", "tcp://h:70000",
                               "tcp://h:0", "tcp://h:x"}) {
    auto wrong = sender;
    wrong.endpoint = endpoint;
    BOOST_TEST(open_refusal(wrong).find(endpoint) != std::string::npos);
  }
  auto wrong = sender;
  wrong.server_key = "short";
  BOOST_TEST(open_refusal(wrong).find("cluster") != std::string::npos);
  wrong = sender;
  wrong.own.secret_key.clear();
  BOOST_TEST(open_refusal(wrong).find("secret key") != std::string::npos);

  receiver_options receiver;
  receiver.cluster = cluster.keys;
  BOOST_TEST((start_refusal(receiver).code == ec::bad_argument));
  receiver.endpoints = {"ipc:///tmp/x"};
  BOOST_TEST((start_refusal(receiver).code == ec::bad_argument));
  receiver.endpoints = {"tcp://127.0.0.1:*"};
  receiver.members = {"short"};
  BOOST_TEST((start_refusal(receiver).code == ec::bad_argument));
  link_node node(cluster);
  receiver.members.clear();
  receiver.endpoints = {node.endpoint()};
  auto in_use = start_refusal(receiver);
  BOOST_TEST((in_use.code == ec::io));
  BOOST_TEST(in_use.message.find(node.endpoint()) != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(link_doors)

BOOST_AUTO_TEST_CASE(admission_by_key_and_by_pace) {
  link_admission::time_point now{};
  link_admission anybody({}, {"x"}, 2), listed({"a", "x"}, {"x"}, 1000);
  BOOST_TEST(listed.admits("a", "1", now));
  BOOST_TEST(!listed.admits("b", "1", now));
  BOOST_TEST(!listed.admits("x", "1", now));
  BOOST_TEST(anybody.admits("a", "1", now));
  BOOST_TEST(!anybody.admits("x", "1", now)); // uses up an attempt too
  BOOST_TEST(!anybody.admits("a", "1", now));
  BOOST_TEST(anybody.admits("a", "2", now)); // another address
  now += 499ms;
  BOOST_TEST(!anybody.admits("a", "1", now));
  now += 2ms;
  BOOST_TEST(anybody.admits("a", "1", now));
  BOOST_TEST(!anybody.is_expelled("a"));
  anybody.expel("a");
  now += 10s;
  BOOST_TEST(anybody.is_expelled("a"));
  BOOST_TEST(!anybody.admits("a", "1", now));
}

BOOST_AUTO_TEST_CASE(the_list_of_addresses_is_bounded) {
  link_admission::time_point now{};
  link_admission door({}, {}, 1);
  for (int i = 0; i < 1024; ++i)
    BOOST_TEST(door.admits("a", std::to_string(i), now));
  BOOST_TEST(!door.admits("a", "one more", now));
  now += 1100ms; // by now the others are forgotten
  BOOST_TEST(door.admits("a", "one more", now));
  BOOST_TEST(door.admits("a", "7", now));
}

BOOST_AUTO_TEST_CASE(connections_and_their_keys) {
  link_connections table;
  BOOST_TEST(!table.is_open(5));
  table.opened(5);
  table.opened(6);
  BOOST_TEST(table.is_open(5));
  BOOST_TEST(!table.heard(5, "a"));
  BOOST_TEST(!table.heard(6, "a"));
  BOOST_TEST(table.of("a").size() == 2u);
  BOOST_TEST(!table.closed(5));
  BOOST_TEST((table.closed(6) == std::optional<std::string>("a")));
  BOOST_TEST(!table.closed(6));
  table.opened(5);
  BOOST_TEST(!table.heard(5, "late frame of a"));
  BOOST_TEST((table.heard(5, "b") == std::optional<std::string>("late frame of a")));
  BOOST_TEST(table.key_of(5) == "b");
  table.opened(7);
  BOOST_TEST(!table.closed(7)); // never said anything
}

BOOST_AUTO_TEST_SUITE_END()
