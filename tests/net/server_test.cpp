// Server and client over real sockets.
#include "net/app_client.hpp"
#include "net/app_protocol.hpp"
#include "tests/net/fake_node.hpp"

#include <boost/test/unit_test.hpp>
#include <zmq.hpp>

#include <fstream>
#include <sys/stat.h>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;

namespace {

app_server_options at(std::string endpoint) {
  app_server_options options;
  options.endpoints = {std::move(endpoint)};
  return options;
}

app_client connected(const std::string& endpoint) {
  // A machine under load may keep a thread waiting for longer than a lost node is waited for.
  auto client = app_client::connect({endpoint, {}, {}, 5s, 20s});
  BOOST_REQUIRE_MESSAGE(client.ok(), (client.ok() ? "" : client.err().message));
  return std::move(*client);
}

generate_request prompt(std::string text) {
  generate_request request;
  request.prompt = std::move(text);
  return request;
}

app_client::incoming next(app_client& client) {
  auto came = client.poll(20s);
  BOOST_REQUIRE_MESSAGE(came.ok(), (came.ok() ? "" : came.err().message));
  BOOST_REQUIRE(came->has_value());
  return std::move(**came);
}

template <class Body>
Body expect(const app_reply& reply) {
  BOOST_REQUIRE(std::holds_alternative<Body>(reply));
  return std::get<Body>(reply);
}

std::string streamed_text(app_client& client, uint64_t id) {
  std::string text;
  for (;;) {
    auto in = next(client);
    BOOST_REQUIRE(in.id == id);
    if (auto* token = std::get_if<token_reply>(&in.reply))
      text += token->text;
    else
      return text + " " + std::string(to_string(expect<done_reply>(in.reply).reason));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(server)

BOOST_AUTO_TEST_CASE(streams_over_ipc_and_tcp) {
  scratch_folder folder;
  for (auto endpoint : {folder.ipc(), std::string("tcp://127.0.0.1:*")}) {
    fake_node node(at(endpoint));
    auto client = connected(node.endpoint());
    auto id = client.send(prompt("hello"));
    BOOST_REQUIRE(id.ok());
    BOOST_TEST(streamed_text(client, *id) == "hello end");
  }
}

BOOST_AUTO_TEST_CASE(several_requests_at_once_on_one_connection) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  auto client = connected(node.endpoint());
  auto waiting = client.send(prompt("wait"));
  BOOST_TEST(expect<token_reply>(next(client).reply).text == "w");
  auto answered = client.ask(tokenize_request{"", "ab", false}, 20s);
  BOOST_REQUIRE(answered.ok());
  BOOST_TEST(expect<tokens_reply>(*answered).tokens == (std::vector<int32_t>{'a', 'b'}));
  auto cancel = client.cancel(*waiting);
  auto done = next(client);
  BOOST_TEST(done.id == *waiting);
  BOOST_TEST((expect<done_reply>(done.reply).reason == finish_reason::cancelled));
  auto confirmed = next(client);
  BOOST_TEST(confirmed.id == *cancel);
  expect<cancelled_reply>(confirmed.reply);
}

BOOST_AUTO_TEST_CASE(an_error_reply_becomes_the_error) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  auto client = connected(node.endpoint());
  auto answered = client.ask(prompt("fail"), 20s);
  BOOST_REQUIRE(!answered.ok());
  BOOST_TEST((answered.err().code == ec::busy));
}

BOOST_AUTO_TEST_CASE(whole_answers_for_who_does_not_stream) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  auto client = connected(node.endpoint());
  auto request = prompt("whole");
  request.stream = false;
  auto answered = client.ask(request, 20s);
  BOOST_REQUIRE(answered.ok());
  auto done = expect<done_reply>(*answered);
  BOOST_REQUIRE(done.answer);
  BOOST_TEST(done.answer->text == "whole");
  BOOST_TEST(done.answer->tokens.size() == 5u);
  BOOST_TEST(done.answer->logprobs == std::vector<float>(5, -0.5f));
}

BOOST_AUTO_TEST_CASE(text_held_back_to_the_end_is_no_token) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  auto client = connected(node.endpoint());
  for (bool stream : {true, false}) {
    auto request = prompt("wait");
    request.stream = stream;
    auto id = client.send(request);
    BOOST_REQUIRE(id.ok());
    BOOST_REQUIRE(node.eventually([&] { return node.waiting.size() == 1; }));
    auto who = std::exchange(node.waiting, {}).begin()->first.first;
    node.server().send(who, *id, token_reply{-1, "END", 0, {}});
    node.server().send(who, *id, done_reply{});
    if (stream) {
      BOOST_TEST(streamed_text(client, *id) == "wEND end");
      continue;
    }
    auto done = expect<done_reply>(next(client).reply);
    BOOST_REQUIRE(done.answer);
    BOOST_TEST(done.answer->text == "wEND");
    BOOST_TEST(done.answer->tokens == std::vector<int32_t>{1});
    BOOST_TEST(done.answer->logprobs.size() == 1u);
  }
}

// REQ sends an empty frame first and can take one reply only; DEALER may do with or without.
BOOST_AUTO_TEST_CASE(req_and_dealer_are_answered_in_kind) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  zmq::context_t context;
  zmq::socket_t req(context, zmq::socket_type::req);
  req.set(zmq::sockopt::rcvtimeo, 20000);
  req.connect(node.endpoint());
  for (uint64_t id : {1, 2}) {
    req.send(zmq::buffer(encode(id, app_request(prompt("req")))), zmq::send_flags::none);
    zmq::message_t answer;
    BOOST_REQUIRE(req.recv(answer));
    BOOST_TEST(!answer.more());
    auto message = decode_reply(answer.to_string_view());
    BOOST_REQUIRE(message.body.ok());
    BOOST_TEST(*message.id == id);
    auto done = expect<done_reply>(*message.body);
    BOOST_REQUIRE(done.answer);
    BOOST_TEST(done.answer->text == "req");
  }
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::rcvtimeo, 20000);
  dealer.connect(node.endpoint());
  for (bool delimited : {true, false, true}) {
    if (delimited)
      dealer.send(zmq::const_buffer(), zmq::send_flags::sndmore);
    dealer.send(zmq::buffer(encode(1, app_request(inspect_request{}))), zmq::send_flags::none);
    zmq::message_t frame;
    BOOST_REQUIRE(dealer.recv(frame));
    BOOST_TEST(frame.more() == delimited);
    if (delimited) {
      BOOST_TEST(frame.size() == 0u);
      BOOST_REQUIRE(dealer.recv(frame));
    }
    BOOST_TEST(!frame.more());
    auto message = decode_reply(frame.to_string_view());
    BOOST_REQUIRE(message.body.ok());
    expect<document_reply>(*message.body);
  }
}

BOOST_AUTO_TEST_CASE(a_client_that_vanishes_is_noticed_while_nothing_is_sent_to_it) {
  scratch_folder folder;
  for (auto endpoint : {folder.ipc(), std::string("tcp://127.0.0.1:*")}) {
    fake_node node(at(endpoint));
    {
      auto client = connected(node.endpoint());
      BOOST_REQUIRE(client.send(prompt("wait")).ok());
      BOOST_REQUIRE(node.eventually([&] { return node.waiting.size() == 1; }));
    }
    BOOST_TEST(node.eventually([&] { return node.gone == 1 && node.waiting.empty(); }));
    auto next_client = connected(node.endpoint());
    auto id = next_client.send(prompt("ok"));
    BOOST_TEST(streamed_text(next_client, *id) == "ok end");
  }
}

BOOST_AUTO_TEST_CASE(clients_that_come_and_go_quickly_are_all_noticed) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  for (int i = 0; i < 50; ++i) {
    auto client = connected(node.endpoint());
    BOOST_REQUIRE(client.send(prompt("wait")).ok());
    next(client);
  }
  BOOST_TEST(node.eventually([&] { return node.gone == 50 && node.waiting.empty(); }));
}

// libzmq keeps a routing id that the client chose; the same one may come back at once.
BOOST_AUTO_TEST_CASE(a_client_may_return_under_its_own_routing_id) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  for (size_t round = 1; round <= 20; ++round) {
    zmq::context_t context;
    zmq::socket_t dealer(context, zmq::socket_type::dealer);
    dealer.set(zmq::sockopt::routing_id, "me");
    dealer.set(zmq::sockopt::rcvtimeo, 20000);
    dealer.set(zmq::sockopt::linger, 0);
    dealer.connect(node.endpoint());
    dealer.send(zmq::buffer(encode(1, app_request(prompt("wait")))), zmq::send_flags::none);
    zmq::message_t answer;
    BOOST_REQUIRE(dealer.recv(answer));
    dealer.close();
    BOOST_REQUIRE(node.eventually([&] { return node.gone == round; }));
  }
}

BOOST_AUTO_TEST_CASE(the_client_notices_a_node_that_ends) {
  scratch_folder folder;
  auto node = std::make_unique<fake_node>(at(folder.ipc()));
  auto client = connected(node->endpoint());
  BOOST_REQUIRE(client.send(prompt("wait")).ok());
  next(client);
  node.reset();
  auto came = client.poll(20s);
  BOOST_REQUIRE(!came.ok());
  BOOST_TEST((came.err().code == ec::io));
  BOOST_TEST(!client.send(prompt("again")).ok());
}

BOOST_AUTO_TEST_CASE(a_connection_to_nobody_fails_with_advice) {
  scratch_folder folder;
  for (auto endpoint : {folder.ipc(), std::string("tcp://127.0.0.1:1")}) {
    auto client = app_client::connect({endpoint, {}, {}, 2s});
    BOOST_REQUIRE(!client.ok());
    BOOST_TEST((client.err().code == ec::io));
    BOOST_TEST(client.err().message.find("coel-node") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(requests_in_flight_are_bounded) {
  scratch_folder folder;
  auto options = at(folder.ipc());
  options.max_in_flight = 3;
  fake_node node(options);
  auto client = connected(node.endpoint());
  std::vector<uint64_t> ids;
  for (int i = 0; i < 3; ++i) {
    ids.push_back(*client.send(prompt("wait")));
    expect<token_reply>(next(client).reply);
  }
  auto refused = client.ask(prompt("one more"), 20s);
  BOOST_REQUIRE(!refused.ok());
  BOOST_TEST((refused.err().code == ec::busy));
  BOOST_REQUIRE(client.cancel(ids[0]).ok()); // a cancel is let through
  expect<done_reply>(next(client).reply);
  expect<cancelled_reply>(next(client).reply);
  BOOST_TEST(client.ask(tokenize_request{"", "x", false}, 20s).ok());
}

BOOST_AUTO_TEST_CASE(an_id_in_use_is_refused_and_the_first_request_lives) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::rcvtimeo, 20000);
  dealer.connect(node.endpoint());
  auto say = [&](uint64_t id, const app_request& request) {
    dealer.send(zmq::buffer(encode(id, request)), zmq::send_flags::none);
    zmq::message_t answer;
    BOOST_REQUIRE(dealer.recv(answer));
    auto message = decode_reply(answer.to_string_view());
    BOOST_REQUIRE(message.body.ok());
    return std::pair(*message.id, *message.body);
  };
  expect<token_reply>(say(5, prompt("wait")).second);
  auto [id, refused] = say(5, prompt("wait"));
  BOOST_TEST(id == 0u); // not 5: that would end the running request for the client
  BOOST_TEST((expect<error>(refused).code == ec::bad_argument));
  auto [cancelled_id, cancelled] = say(6, cancel_request{5});
  BOOST_TEST(cancelled_id == 5u);
  BOOST_TEST((expect<done_reply>(cancelled).reason == finish_reason::cancelled));
}

BOOST_AUTO_TEST_CASE(more_clients_than_allowed_are_told) {
  scratch_folder folder;
  auto options = at(folder.ipc());
  options.max_clients = 2;
  fake_node node(options);
  auto a = connected(node.endpoint()), b = connected(node.endpoint()),
       c = connected(node.endpoint());
  BOOST_TEST(a.ask(inspect_request{}, 20s).ok());
  BOOST_TEST(b.ask(inspect_request{}, 20s).ok());
  BOOST_REQUIRE(c.send(inspect_request{}).ok());
  auto refused = next(c);
  BOOST_TEST(refused.id == 0u);
  BOOST_TEST((expect<error>(refused.reply).code == ec::busy));
}

BOOST_AUTO_TEST_CASE(stopping_sends_what_is_queued) {
  scratch_folder folder;
  fake_node node(at(folder.ipc()));
  auto client = connected(node.endpoint());
  auto id = client.send(prompt("wait"));
  next(client);
  BOOST_REQUIRE(node.eventually([&] { return node.waiting.size() == 1; }));
  node.server().send(node.waiting.begin()->first.first, *id, error{ec::shutting_down, "bye"});
  node.server().stop();
  BOOST_TEST((expect<error>(next(client).reply).code == ec::shutting_down));
}

BOOST_AUTO_TEST_SUITE_END()
