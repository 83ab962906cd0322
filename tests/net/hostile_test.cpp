// Clients that flood, stall, lie or fall silent, beside one that behaves.
#include "net/app_client.hpp"
#include "net/app_clients.hpp"
#include "net/app_protocol.hpp"
#include "tests/net/fake_node.hpp"
#include "tests/net/raw_peer.hpp"

#include <boost/test/unit_test.hpp>
#include <zmq.hpp>

#include <atomic>
#include <fstream>
#include <random>
#include <thread>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;

namespace {

app_server_options on_tcp() {
  app_server_options options;
  options.endpoints = {"tcp://127.0.0.1:*"};
  return options;
}

// Answers of the fake node are known: the prompt, byte by byte.
void check_served(const std::string& endpoint, int requests = 3) {
  auto client = app_client::connect({endpoint, {}, {}, 20s});
  BOOST_REQUIRE(client.ok());
  for (int i = 0; i < requests; ++i) {
    generate_request request;
    request.prompt = "good " + std::to_string(i);
    request.stream = false;
    auto reply = client->ask(request, 60s);
    BOOST_REQUIRE_MESSAGE(reply.ok(), (reply.ok() ? "" : to_string(reply.err())));
    BOOST_TEST(std::get<done_reply>(*reply).answer->text == request.prompt);
  }
}

zmq::socket_t dealer_at(zmq::context_t& context, const std::string& endpoint) {
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::rcvtimeo, 20000);
  dealer.connect(endpoint);
  return dealer;
}

long resident_kilobytes() {
  std::ifstream in("/proc/self/statm");
  long total = 0, resident = 0;
  in >> total >> resident;
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

// Random bytes, broken messages, many frames, empty ones.
void send_garbage(zmq::socket_t& socket, std::mt19937& random) {
  constexpr auto quietly = zmq::send_flags::dontwait;
  std::string frame(random() % (random() % 50 == 0 ? 65536 : 64), '\0');
  for (auto& c : frame)
    c = static_cast<char>(random());
  if (random() % 4 == 0)
    frame =
        encode(random(), app_request(detokenize_request{"", {1, 2, 3}})).substr(0, random() % 40);
  for (auto more = random() % 8; more > 5; --more)
    if (!socket.send(zmq::buffer(frame), quietly | zmq::send_flags::sndmore))
      return;
  (void)socket.send(zmq::buffer(frame), quietly);
}

} // namespace

BOOST_AUTO_TEST_SUITE(hostile)

BOOST_AUTO_TEST_CASE(bad_messages_are_answered_in_bursts_and_then_ignored) {
  misbehaviour record;
  steady_time now{std::chrono::hours(1)};
  for (int i = 1; i < misbehaviour::burst; ++i)
    BOOST_TEST((record.bad_message(now) == misbehaviour::verdict::answer));
  BOOST_TEST(!record.ignored(now));
  BOOST_TEST((record.bad_message(now) == misbehaviour::verdict::answer_and_ignore));
  BOOST_TEST(record.ignored(now));
  BOOST_TEST((record.bad_message(now) == misbehaviour::verdict::ignore));
  now += misbehaviour::pause;
  BOOST_TEST(!record.ignored(now));
  for (int i = 0; i < 1000; ++i) { // one a second is what a client with a bug may go on sending
    now += misbehaviour::refill;
    BOOST_TEST((record.bad_message(now) == misbehaviour::verdict::answer));
  }
}

BOOST_AUTO_TEST_CASE(backlog_is_bounded_by_count_and_bytes) {
  backlog small, large;
  for (size_t i = 0; i < backlog::limit_messages; ++i)
    BOOST_REQUIRE(small.push({"x", false}));
  BOOST_TEST(!small.push({"x", false}));
  small.pop();
  BOOST_TEST(small.push({"x", false}));
  BOOST_TEST(large.push({std::string(2 * backlog::limit_bytes, 'x'), false})); // alone: let through
  BOOST_TEST(!large.push({"x", false}));
  large.pop();
  BOOST_TEST(large.empty());
  BOOST_TEST(large.bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(sixteen_garbage_clients_beside_a_good_one) {
  fake_node node(on_tcp());
  std::atomic<bool> stop{false};
  std::atomic<size_t> answers{0};
  std::vector<std::thread> flood;
  for (unsigned seed = 0; seed < 16; ++seed)
    flood.emplace_back([&, seed] {
      std::mt19937 random(seed);
      zmq::context_t context;
      auto socket = dealer_at(context, node.endpoint());
      zmq::message_t answer;
      while (!stop) {
        send_garbage(socket, random);
        while (socket.recv(answer, zmq::recv_flags::dontwait))
          answers += answer.more() ? 0 : 1;
      }
    });
  BOOST_TEST(node.eventually([] { return true; }));
  check_served(node.endpoint(), 100);
  stop = true;
  for (auto& thread : flood)
    thread.join();
  BOOST_TEST(node.eventually([&] { return node.gone >= 1; }));
  BOOST_TEST(answers > 0u);
  check_served(node.endpoint());
}

BOOST_AUTO_TEST_CASE(a_client_is_told_once_that_it_is_ignored) {
  fake_node node(on_tcp());
  zmq::context_t context;
  auto socket = dealer_at(context, node.endpoint());
  for (int i = 0; i < 100; ++i)
    socket.send(zmq::str_buffer("garbage"), zmq::send_flags::none);
  zmq::message_t answer;
  for (int i = 1; i <= misbehaviour::burst; ++i) {
    BOOST_REQUIRE(socket.recv(answer));
    auto reply = decode_reply(answer.to_string_view());
    BOOST_REQUIRE(reply.body.ok());
    BOOST_TEST(*reply.id == 0u);
    auto said = std::get<error>(*reply.body);
    BOOST_TEST((said.code == ec::bad_frame));
    bool last = said.message.find("not heard") != std::string::npos;
    BOOST_TEST(last == (i == misbehaviour::burst));
  }
}

// It asks and asks and never reads: what the node keeps for it stays bounded, its requests end, and
// it learns so when it reads again.
BOOST_AUTO_TEST_CASE(a_client_that_does_not_read) {
  fake_node node(on_tcp());
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::dealer);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::rcvhwm, 1);
  socket.set(zmq::sockopt::rcvtimeo, 20000);
  socket.connect(node.endpoint());
  generate_request wait;
  wait.prompt = "wait";
  socket.send(zmq::buffer(encode(1, app_request(wait))), zmq::send_flags::none);
  BOOST_REQUIRE(node.eventually([&] { return node.waiting.size() == 1; }));
  [[maybe_unused]] auto before = resident_kilobytes();
  const std::string text(100'000, 'x'); // scored: about 600 kB of answer
  for (uint64_t id = 2; id < 1000; ++id) {
    socket.send(zmq::buffer(encode(id, app_request(score_request{"", text, {}, 0}))),
                zmq::send_flags::none);
    if (node.eventually([&] { return node.requests + 8 >= id || node.gone > 0; }); node.gone > 0)
      break;
  }
  BOOST_TEST(node.eventually([&] { return node.gone == 1 && node.waiting.empty(); }));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  BOOST_TEST(resident_kilobytes() - before < 160 * 1024);
#endif
  check_served(node.endpoint());
  for (;;) {
    zmq::message_t answer;
    BOOST_REQUIRE(socket.recv(answer));
    auto reply = decode_reply(answer.to_string_view());
    BOOST_REQUIRE(reply.body.ok());
    if (auto* said = std::get_if<error>(&*reply.body); said != nullptr && *reply.id == 1) {
      BOOST_TEST((said->code == ec::busy));
      break;
    }
  }
}

BOOST_AUTO_TEST_CASE(more_replies_at_once_than_the_outbox_holds) {
  fake_node node(on_tcp());
  auto client = app_client::connect({node.endpoint(), {}, {}, 20s});
  BOOST_REQUIRE(client.ok());
  generate_request request;
  request.prompt = std::string(200'000, 'x'); // a token each, all queued in one call
  request.max_tokens = 200'000;
  BOOST_REQUIRE(client->send(request).ok());
  for (;;) {
    auto came = client->poll(20s);
    BOOST_REQUIRE((came.ok() && *came));
    if (auto* said = std::get_if<error>(&(*came)->reply)) {
      BOOST_TEST((said->code == ec::busy));
      break;
    }
    BOOST_REQUIRE(std::holds_alternative<token_reply>((*came)->reply));
  }
  check_served(node.endpoint());
}

BOOST_AUTO_TEST_CASE(a_peer_that_falls_silent_is_found_by_heartbeats) {
  auto options = on_tcp();
  options.heartbeat_interval = 100ms;
  options.heartbeat_timeout = 300ms;
  fake_node node(options);
  raw_peer peer(node.endpoint());
  peer.greet();
  generate_request wait;
  wait.prompt = "wait";
  peer.send_frame(encode(1, app_request(wait)));
  BOOST_TEST(node.eventually([&] { return node.requests == 1; }));
  BOOST_TEST(node.eventually([&] { return node.gone == 1 && node.waiting.empty(); }));
  BOOST_TEST(peer.closed_by_peer());
}

BOOST_AUTO_TEST_CASE(too_large_a_message_ends_the_connection) {
  fake_node node(on_tcp());
  raw_peer peer(node.endpoint());
  peer.greet();
  peer.write(std::string("\x02\x00\x00\x7F\xFF\xFF\xFF\xFF\xFF", 9)); // says: 140 terabytes follow
  BOOST_TEST(peer.closed_by_peer());
  check_served(node.endpoint());
}

BOOST_AUTO_TEST_CASE(what_is_not_zeromq_at_all) {
  fake_node node(on_tcp());
  std::mt19937 random(7);
  for (int i = 0; i < 50; ++i) {
    raw_peer peer(node.endpoint());
    std::string noise(1 + random() % 300, '\0');
    for (auto& c : noise)
      c = static_cast<char>(random());
    peer.write(i % 2 == 0 ? noise : "GET / HTTP/1.1\r\n\r\n");
  }
  check_served(node.endpoint());
}

BOOST_AUTO_TEST_CASE(noise_behind_a_good_greeting) {
  fake_node node(on_tcp());
  std::mt19937 random(8);
  for (int i = 0; i < 50; ++i) {
    raw_peer peer(node.endpoint());
    peer.greet();
    for (int frames = 0; frames < 5; ++frames) {
      std::string noise(random() % 300, '\0');
      for (auto& c : noise)
        c = static_cast<char>(random());
      peer.send_frame(noise, random() % 3 == 0);
    }
    if (i % 2 == 0)
      peer.write("\xFF\xFF\xFF");
  }
  check_served(node.endpoint());
}

BOOST_AUTO_TEST_SUITE_END()
