// Who is not let in is counted, said now and then, and takes no place that others need.
#include "net/link_connections.hpp"
#include "net/link_refusals.hpp"
#include "tests/net/link_nodes.hpp"
#include "tests/net/raw_peer.hpp"

#include <boost/test/unit_test.hpp>

#include <list>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;
using event = link_sender::event;

namespace {

/// A receiver whose lines are kept.
struct watched_receiver {
  explicit watched_receiver(receiver_options options) {
    options.endpoints = {"tcp://127.0.0.1:*"};
    receiver_handler handler;
    handler.on_frame = [this](auto&, auto&, auto) { ++frames; };
    handler.on_gone = [](auto&) {};
    handler.on_refused = [this](const std::string& line) {
      std::lock_guard lock(mutex);
      lines.push_back(line);
    };
    auto started = link_receiver::start(context, std::move(options), handler);
    BOOST_REQUIRE(started.ok());
    receiver = std::move(*started);
  }
  uint64_t refused(refusal kind) const {
    return receiver->counts().refused[static_cast<size_t>(kind)];
  }
  bool reaches(refusal kind, uint64_t at_least) const {
    for (int i = 0; i < 2000 && refused(kind) < at_least; ++i)
      std::this_thread::sleep_for(10ms);
    return refused(kind) >= at_least;
  }
  size_t lines_of(refusal kind) {
    std::lock_guard lock(mutex);
    auto sought = "why=" + std::string(to_string(kind)) + " ";
    return static_cast<size_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
      return line.find(sought) != std::string::npos;
    }));
  }
  std::string endpoint() const { return receiver->endpoints().front(); }

  std::mutex mutex;
  std::vector<std::string> lines;
  std::atomic<uint64_t> frames{0};
  zmq::context_t context;
  std::unique_ptr<link_receiver> receiver;
};

struct one_cluster {
  cluster_file cluster = *make_cluster("home");
  key_pair a = *generate_keys(), b = *generate_keys();

  receiver_options options() const {
    receiver_options o;
    o.cluster = cluster.keys;
    return o;
  }
};

std::string plain_greeting() {
  std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x01NULL", 16);
  greeting.resize(64, '\0');
  return greeting;
}

} // namespace

BOOST_AUTO_TEST_SUITE(link_closed)

BOOST_AUTO_TEST_CASE(of_each_reason_one_line_a_minute) {
  link_refusals log;
  link_refusals::time_point now{};
  auto first = log.note(refusal::no_key, "10.0.0.9", now);
  BOOST_REQUIRE(first.has_value());
  BOOST_TEST(first->starts_with("event=refused-peer why=no-key times=1 from=10.0.0.9 hint="),
             *first);
  for (int i = 0; i < 599; ++i)
    BOOST_TEST(!log.note(refusal::no_key, "10.0.0.9", now += 100ms));
  BOOST_TEST(log.note(refusal::expelled, "", now)
                 ->starts_with("event=refused-peer why=expelled times=1 hint="));
  auto second = log.note(refusal::no_key, "10.0.0.8", now += 100ms);
  BOOST_REQUIRE(second.has_value());
  BOOST_TEST(second->find("times=600 ") != std::string::npos, *second);
  BOOST_TEST(log.count(refusal::no_key) == 601u);
  BOOST_TEST(log.count(refusal::expelled) == 1u);
}

BOOST_AUTO_TEST_CASE(silent_connections_are_bounded_by_address_and_in_all) {
  link_connections table;
  int next = 10;
  table.opened(1, "good");
  for (size_t i = 0; i < link_connections::max_silent_of_address; ++i)
    table.opened(next++, "bad");
  BOOST_TEST(!table.crowded());
  table.opened(next++, "bad");
  BOOST_TEST((table.crowded() == std::optional<int>(10))); // the oldest of that address
  BOOST_TEST(table.is_closing(10));
  BOOST_TEST(!table.crowded()); // told once
  table.heard(11, "a");         // is silent no longer
  table.opened(next++, "bad");
  BOOST_TEST(!table.crowded());
  for (size_t i = 0; i < link_connections::max_silent; ++i)
    table.opened(next++, "spread " + std::to_string(i));
  size_t closed = 0;
  while (table.crowded())
    ++closed;
  BOOST_TEST(closed > 0u);
  BOOST_TEST(!table.is_closing(1)); // alone at its address, and others have more
}

BOOST_AUTO_TEST_CASE(connections_of_a_key_are_bounded) {
  link_connections table;
  for (int i = 0; i < static_cast<int>(link_connections::max_of_key); ++i) {
    table.opened(i, "1");
    table.heard(i, "a");
    BOOST_TEST(!table.crowded("a"));
  }
  table.opened(100, "2");
  table.heard(100, "a");
  BOOST_TEST((table.crowded("a") == std::optional<int>(0)));
  BOOST_TEST(!table.crowded("a"));
  BOOST_TEST(!table.crowded("b"));
}

BOOST_FIXTURE_TEST_CASE(each_reason_is_counted_and_said_once, one_cluster) {
  auto o = options();
  o.members = {a.public_key};
  auto expelled = *generate_keys();
  o.expelled = {expelled.public_key};
  watched_receiver node(o);
  auto other = *make_cluster("home");
  for (int i = 0; i < 4; ++i) {
    raw_peer in_the_clear(node.endpoint());
    in_the_clear.write(plain_greeting());
    BOOST_TEST(in_the_clear.closed_by_peer());
    link_client wrong_cluster(node.endpoint(), a, other.keys.public_key);
    link_client stranger(node.endpoint(), b, cluster.keys.public_key);
    link_client gone(node.endpoint(), expelled, cluster.keys.public_key);
    for (auto* one : {&wrong_cluster, &stranger, &gone})
      BOOST_TEST(one->wait_for(event::refused).has_value());
  }
  BOOST_TEST(node.reaches(refusal::no_key, 8));
  BOOST_TEST(node.reaches(refusal::not_member, 4));
  BOOST_TEST(node.reaches(refusal::expelled, 4));
  for (auto kind : {refusal::no_key, refusal::not_member, refusal::expelled})
    BOOST_TEST(node.lines_of(kind) == 1u, to_string(kind));
  BOOST_TEST(node.frames == 0u);
  link_client member(node.endpoint(), a, cluster.keys.public_key);
  BOOST_TEST(member.wait_for(event::connected).has_value());
}

BOOST_FIXTURE_TEST_CASE(who_connects_and_waits_takes_no_place_from_others, one_cluster) {
  watched_receiver node(options());
  std::list<raw_peer> waiting;
  for (size_t i = 0; i < 3 * link_connections::max_silent_of_address; ++i)
    waiting.emplace_back(node.endpoint());
  BOOST_TEST(node.reaches(refusal::crowded, 2 * link_connections::max_silent_of_address));
  BOOST_TEST(waiting.front().closed_by_peer()); // the oldest went first
  BOOST_TEST(node.lines_of(refusal::crowded) == 1u);
  link_client good(node.endpoint(), a, cluster.keys.public_key);
  BOOST_TEST(good.send("let in"));
  for (int i = 0; i < 2000 && node.frames == 0; ++i)
    std::this_thread::sleep_for(10ms);
  BOOST_TEST(node.frames == 1u);
  for (int i = 0; i < 20; ++i) // and a member stays in while others crowd
    waiting.emplace_back(node.endpoint());
  BOOST_TEST(good.send("still in"));
  for (int i = 0; i < 2000 && node.frames == 1; ++i)
    std::this_thread::sleep_for(10ms);
  BOOST_TEST(node.frames == 2u);
}

BOOST_FIXTURE_TEST_CASE(a_key_with_many_connections_loses_its_oldest, one_cluster) {
  auto o = options();
  o.handshakes_per_second = 1000;
  watched_receiver node(o);
  std::list<link_client> many;
  for (size_t i = 0; i < link_connections::max_of_key + 2; ++i) {
    many.emplace_back(node.endpoint(), a, cluster.keys.public_key);
    BOOST_REQUIRE(many.back().send("here"));
    for (int k = 0; k < 2000 && node.frames < i + 1; ++k)
      std::this_thread::sleep_for(10ms);
  }
  BOOST_TEST(many.front().wait_for(event::lost).has_value());
  BOOST_TEST(node.refused(refusal::crowded) >= 2u);
  BOOST_TEST(node.refused(refusal::no_key) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
