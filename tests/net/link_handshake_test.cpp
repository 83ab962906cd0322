// When links come up and go down, over a network that a seed decides. A failure names its seed.
#include "tests/net/link_world.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel;
using namespace coel::net;
using namespace coel::net::test;
using state = link_handshake::state;

namespace {

constexpr uint64_t seeds = 500;

// Runs `scenario(world)` for each seed.
template <class Scenario>
void for_all_seeds(Scenario scenario) {
  for (uint64_t seed = 1; seed <= seeds; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      link_world world(seed);
      scenario(world);
      BOOST_TEST_REQUIRE(world.violation() == "");
    }
}

void start_both(link_world& world) {
  world.start(0);
  world.run(std::chrono::milliseconds(world.random() % 50));
  world.start(1);
}

greeting_frame greeting_of(const std::string& name, uint64_t boot) {
  greeting_frame out;
  out.name = name;
  out.boot = boot;
  out.build = "1";
  return out;
}

greeting_frame sent_greeting(const link_handshake::actions& todo, size_t i = 0) {
  BOOST_REQUIRE(todo.send.size() > i);
  auto decoded = decode_greeting({todo.send[i].data<std::byte>(), todo.send[i].size()});
  BOOST_REQUIRE(decoded.ok());
  return *decoded;
}

} // namespace

BOOST_AUTO_TEST_SUITE(link_handshakes)

BOOST_AUTO_TEST_CASE(both_come_up_and_stay) {
  for_all_seeds([](link_world& world) {
    start_both(world);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 1s));
    world.run(10s);
    for (int which : {0, 1})
      BOOST_TEST(world[which].events == "u");
    auto rtt = world[0].link->round_trip();
    BOOST_TEST((rtt > 0ms && rtt <= 40ms));
    BOOST_TEST((world[0].link->deadline() > rtt));
  });
}

BOOST_AUTO_TEST_CASE(opened_at_the_same_instant) {
  for_all_seeds([](link_world& world) {
    world.start(0);
    world.start(1);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 1s));
  });
}

BOOST_AUTO_TEST_CASE(one_starts_much_later) {
  for_all_seeds([](link_world& world) {
    world.start(0);
    world.run(std::chrono::milliseconds(world.random() % 60000));
    BOOST_TEST(!world.up(0));
    world.start(1);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 2s));
  });
}

BOOST_AUTO_TEST_CASE(frames_are_lost_delayed_and_reordered) {
  for_all_seeds([](link_world& world) {
    world.drop = 0.3;
    world.longest_delay = 150ms;
    start_both(world);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 60s));
    for (int i = 0; i < 20; ++i) {
      world.break_connection(static_cast<int>(world.random() % 2));
      world.run(std::chrono::milliseconds(world.random() % 2000));
    }
    world.drop = 0;
    world.longest_delay = 20ms;
    world.run(15s); // late frames have come, the longest back-off is over
    auto before = world[0].events + world[1].events;
    world.run(10s);
    BOOST_TEST(world.both_up());
    BOOST_TEST(before == world[0].events + world[1].events);
  });
}

BOOST_AUTO_TEST_CASE(a_death_is_noticed_within_half_a_second_of_silence) {
  for_all_seeds([](link_world& world) {
    world.silent_death = world.random() % 2 == 0;
    start_both(world);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 1s));
    world.run(std::chrono::milliseconds(world.random() % 3000));
    int victim = static_cast<int>(world.random() % 2);
    world.kill(victim);
    world.run(world.longest_delay + 500ms);
    BOOST_TEST(!world.up(1 - victim));
    BOOST_TEST(world[1 - victim].events == "ud");
    BOOST_TEST(world[1 - victim].link->last_error().has_value());
    world.run(std::chrono::milliseconds(world.random() % 60000));
    world.start(victim);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 2s));
  });
}

// So quickly that nobody noticed: still, what was under way there is lost.
BOOST_AUTO_TEST_CASE(another_boot_means_down_then_up) {
  for_all_seeds([](link_world& world) {
    world.silent_death = world.random() % 2 == 0;
    start_both(world);
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 1s));
    world.run(std::chrono::milliseconds(world.random() % 3000));
    auto boot = world[0].link->theirs()->boot;
    world.kill(1);
    world.start(1);
    BOOST_TEST_REQUIRE(world.run_until(
        [&] { return world.both_up() && world[0].link->theirs()->boot != boot; }, 3s));
    world.run(3s);
    BOOST_TEST(world.both_up());
    BOOST_TEST(world[0].events.starts_with("udu"));
    BOOST_TEST(world[0].link->theirs()->boot == world[1].own.boot);
  });
}

BOOST_AUTO_TEST_CASE(both_restart_again_and_again) {
  for_all_seeds([](link_world& world) {
    world.drop = 0.1;
    world.longest_delay = 50ms;
    start_both(world);
    for (int i = 0; i < 10; ++i) {
      int which = static_cast<int>(world.random() % 2);
      world.silent_death = world.random() % 2 == 0;
      world.run(std::chrono::milliseconds(world.random() % 2000));
      world.kill(which);
      world.run(std::chrono::milliseconds(world.random() % 2 * (world.random() % 2000)));
      world.start(which);
    }
    world.drop = 0;
    BOOST_TEST_REQUIRE(world.run_until([&] { return world.both_up(); }, 15s));
    for (int which : {0, 1})
      BOOST_TEST(world[which].link->theirs()->boot == world[1 - which].own.boot);
  });
}

BOOST_AUTO_TEST_CASE(never_up_with_another_version_or_build) {
  for_all_seeds([](link_world& world) {
    world.drop = 0.1;
    world.longest_delay = 100ms;
    if (world.random() % 2 == 0)
      world[1].own.version = link_protocol_version + 1;
    else
      world[1].own.build = "2";
    start_both(world);
    world.run(100s);
    for (int which : {0, 1}) {
      BOOST_TEST(world[which].events == "");
      auto why = world[which].link->last_error();
      BOOST_TEST_REQUIRE(why.has_value());
      BOOST_TEST((why->code == ec::version_mismatch), to_string(*why));
    }
    world.drop = 0;
    world.kill(1); // and is brought to the same version
    world[1].own.version = link_protocol_version;
    world[1].own.build = "1";
    world.start(1);
    BOOST_TEST(world.run_until([&] { return world.both_up(); }, 10s));
  });
}

BOOST_AUTO_TEST_CASE(a_refusal_says_which_to_change) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("new", 1), 7, now);
  link.connected(now);
  auto theirs = greeting_of("old", 2);
  theirs.nonce = 5;
  theirs.version = 0;
  theirs.name.clear(); // not known of other versions
  auto todo = link.greeted(theirs, now);
  BOOST_REQUIRE(todo.send.size() == 1u);
  auto refusal = decode_refusal({todo.send[0].data<std::byte>(), todo.send[0].size()});
  BOOST_REQUIRE(refusal.ok());
  BOOST_TEST(refusal->echo == 5u);
  BOOST_TEST((refusal->why.code == ec::version_mismatch));
  BOOST_TEST(refusal->why.message.find("update CoEL on the other node") != std::string::npos);
  BOOST_TEST((link.now() == state::refused));
  theirs = greeting_of("old", 2);
  theirs.build = "0";
  link.greeted(theirs, now);
  BOOST_TEST(link.last_error()->message.find("'old' of '0'") != std::string::npos);
  theirs = greeting_of("mirror", 1);
  link.greeted(theirs, now);
  BOOST_TEST((link.last_error()->code == ec::bad_argument)); // connected to itself
}

BOOST_AUTO_TEST_CASE(an_answer_to_an_old_connection_counts_nothing) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("a", 1), 7, now);
  auto first = sent_greeting(link.connected(now)).nonce;
  link.lost({ec::io, "broke"}, now);
  auto second = sent_greeting(link.connected(now)).nonce;
  BOOST_TEST(first != second);
  auto answer = greeting_of("b", 2);
  answer.nonce = 9;
  answer.echo = first;
  BOOST_TEST(!link.greeted(answer, now).came_up);
  BOOST_TEST(
      (link.refused({first, {ec::unsupported, "late"}}, now), link.now() == state::greeting));
  answer.echo = second;
  BOOST_TEST(link.greeted(answer, now).came_up);
  BOOST_TEST(!link.last_error());
}

BOOST_AUTO_TEST_CASE(a_greeting_before_our_connection_is_answered_when_there_is_one) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("a", 1), 7, now);
  auto theirs = greeting_of("b", 2);
  theirs.nonce = 9;
  BOOST_TEST(link.greeted(theirs, now).send.empty());
  auto todo = link.connected(now);
  BOOST_TEST(sent_greeting(todo, 0).echo == 0u);
  BOOST_TEST(sent_greeting(todo, 1).echo == 9u);
}

BOOST_AUTO_TEST_CASE(retries_back_off_and_rest_after_a_refusal) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("a", 1), 7, now);
  auto wait_for_reopen = [&] {
    auto from = now;
    while (!link.tick(now += 10ms).reopen)
      BOOST_REQUIRE(now - from < 60s);
    return now - from;
  };
  auto expected = 200ms;
  for (int i = 0; i < 8;
       ++i, expected = std::min<std::chrono::milliseconds>(2 * expected, 5000ms)) {
    link.lost({ec::io, "nobody listens"}, now);
    auto waited = wait_for_reopen();
    BOOST_TEST((waited >= expected * 3 / 4 && waited <= expected * 5 / 4 + 10ms));
  }
  link.refused({0, {ec::unsupported, "expelled"}}, now);
  BOOST_TEST((link.now() == state::refused));
  BOOST_TEST(link.last_error()->message == "expelled");
  auto waited = wait_for_reopen();
  BOOST_TEST((waited >= 3750ms && waited <= 6300ms)); // by the socket
  auto greeting = sent_greeting(link.connected(now));
  link.refused({greeting.nonce, {ec::version_mismatch, "too old"}}, now);
  waited = wait_for_reopen();
  BOOST_TEST((waited >= 22s && waited <= 38s));
}

BOOST_AUTO_TEST_CASE(a_goodbye_ends_it_until_they_greet_again) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("a", 1), 7, now);
  auto answer = greeting_of("b", 2);
  answer.echo = sent_greeting(link.connected(now)).nonce;
  BOOST_TEST(link.greeted(answer, now).came_up);
  auto todo = link.parted({"stopped"}, now);
  BOOST_REQUIRE(todo.went_down.has_value());
  BOOST_TEST(todo.went_down->message.find("stopped") != std::string::npos);
  BOOST_TEST((link.now() == state::closed));
  BOOST_TEST(!link.lost({ec::io, "broke"}, now).went_down);
  for (int i = 0; i < 200; ++i)
    BOOST_TEST(!link.tick(now += 100ms).reopen);
  auto again = greeting_of("b", 3);
  again.nonce = 4;
  BOOST_TEST(link.greeted(again, now).reopen);
  todo = link.connected(now);
  BOOST_TEST(sent_greeting(todo, 1).echo == 4u);
  answer = again;
  answer.echo = sent_greeting(todo, 0).nonce;
  BOOST_TEST(link.greeted(answer, now).came_up);
}

BOOST_AUTO_TEST_CASE(pings_are_answered_while_up_only) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("a", 1), 7, now);
  auto answer = greeting_of("b", 2);
  answer.echo = sent_greeting(link.connected(now)).nonce;
  BOOST_TEST(link.pinged({3, 4}, now).send.empty());
  link.greeted(answer, now);
  auto todo = link.pinged({3, 4}, now);
  BOOST_REQUIRE(todo.send.size() == 1u);
  std::span<const std::byte> pong(todo.send[0].data<std::byte>(), todo.send[0].size());
  BOOST_TEST((kind_of(pong) == link_frame_kind::pong));
  BOOST_TEST(decode_ping(pong)->id == 3u);
  BOOST_TEST(decode_ping(pong)->sent_us == 4u);
}

BOOST_AUTO_TEST_CASE(round_trips_as_rfc_6298_smooths_them) {
  link_handshake::time_point now{1h};
  link_handshake link(greeting_of("a", 1), 7, now);
  BOOST_TEST((link.deadline() == 1s));
  auto answer = greeting_of("b", 2);
  answer.echo = sent_greeting(link.connected(now)).nonce;
  link.greeted(answer, now);
  auto ping = [&] {
    auto todo = link.tick(now);
    BOOST_REQUIRE(todo.send.size() == 1u);
    return *decode_ping({todo.send[0].data<std::byte>(), todo.send[0].size()});
  };
  auto first = ping();
  link.pong(first, now += 8ms);
  BOOST_TEST((link.round_trip() == 8ms && link.variation() == 4ms));
  BOOST_TEST((link.deadline() == 24ms));
  link.pong(first, now += 50ms); // an echo of an echo is no measurement
  link.pong({999, 0}, now);
  BOOST_TEST((link.round_trip() == 8ms));
  now += 100ms;
  auto second = ping();
  link.pong(second, now += 16ms);
  BOOST_TEST((link.round_trip() == 9ms && link.variation() == 5ms));
}

BOOST_AUTO_TEST_SUITE_END()
