// Loops that meet over loopback by static peers, from a port that needs no privilege.
#include "perception_support.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>
#include <unistd.h>

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;
using namespace std::chrono_literals;
using what = policy::neighbour_event::what;

namespace {

constexpr policy::ipv4_address host(uint8_t last) {
  return 0x7f000000u | last;
}

uint16_t free_port() {
  static uint16_t next = static_cast<uint16_t>(40000 + getpid() % 20000);
  while (!net::udp_broadcast::open({host(1), ++next}).ok()) {
  }
  return next;
}

perception_options on_loopback(uint8_t last, uint16_t port, std::vector<uint8_t> peers) {
  auto out = brisk(last);
  out.bound = {host(last), port};
  out.broadcast = false;
  for (auto peer : peers)
    out.static_peers.push_back({host(peer), port});
  return out;
}

std::unique_ptr<perception_loop> start(perception_options options, ears& of) {
  auto loop = perception_loop::start(std::move(options), of.callbacks());
  BOOST_REQUIRE_MESSAGE(loop.ok(), (loop.ok() ? "" : loop.err().message));
  return std::move(*loop);
}

const policy::neighbour_view* line_of(const perception_snapshot& all,
                                      policy::ipv4_address address) {
  auto at = std::find_if(all.neighbours.begin(), all.neighbours.end(),
                         [&](const auto& x) { return x.address == address; });
  return at == all.neighbours.end() ? nullptr : &*at;
}

} // namespace

BOOST_AUTO_TEST_SUITE(perception_on_loopback)

BOOST_AUTO_TEST_CASE(two_meet_tell_their_status_part_and_meet_again) {
  auto port = free_port();
  ears of_a, of_b;
  auto a = start(on_loopback(2, port, {3}), of_a);
  auto b = start(on_loopback(3, port, {2}), of_b);
  b->set_status({80, 60});
  BOOST_REQUIRE(of_a.wait_for(what::symmetric, host(3)));
  BOOST_REQUIRE(of_b.wait_for(what::symmetric, host(2)));
  b->set_status({10, 60});
  BOOST_REQUIRE(of_a.wait_for(what::status_changed, host(3)));
  auto seen = a->snapshot();
  auto line = line_of(seen, host(3));
  BOOST_REQUIRE(line);
  BOOST_TEST((line->status == policy::link_status::symmetric));
  BOOST_TEST(line->local == host(2));
  BOOST_TEST(int{*line->free.memory} == 60);
  BOOST_TEST(int{*line->free.compute} < 80);
  auto tried = of_a.candidates();
  BOOST_TEST(std::count(tried.begin(), tried.end(), host(3)) >= 1);
  BOOST_TEST(of_b.candidates().empty()); // a has no status, so it is no node of CoEL yet

  b->stop();
  BOOST_REQUIRE(of_a.wait_for(what::lost, host(3)));
  b = start(on_loopback(3, port, {2}), of_b);
  BOOST_TEST(of_a.wait_for(what::symmetric, host(3), 2));
  BOOST_TEST(of_b.wait_for(what::symmetric, host(2), 2));
  BOOST_TEST(of_a.troubles().empty());
}

BOOST_AUTO_TEST_CASE(three_in_a_line_know_of_each_other) {
  auto port = free_port();
  ears of_a, of_b, of_c;
  auto a = start(on_loopback(2, port, {3}), of_a);
  auto b = start(on_loopback(3, port, {2, 4}), of_b);
  auto c = start(on_loopback(4, port, {3}), of_c);
  BOOST_REQUIRE(of_a.wait_for(what::symmetric, host(3)));
  BOOST_REQUIRE(of_b.wait_for(what::symmetric, host(2)));
  BOOST_REQUIRE(of_b.wait_for(what::symmetric, host(4)));
  std::vector<policy::ipv4_address> two_hop;
  for (int i = 0; i < 600 && two_hop.empty(); ++i) {
    std::this_thread::sleep_for(100ms);
    auto seen = a->snapshot();
    if (auto line = line_of(seen, host(3)))
      two_hop = line->two_hop;
  }
  BOOST_TEST((two_hop == std::vector{host(4)})); // and not a itself
}

BOOST_AUTO_TEST_CASE(noise_and_forgeries_cause_nothing_but_bounded_attempts) {
  auto port = free_port();
  ears of_a, of_b;
  auto options = on_loopback(2, port, {3});
  options.attempts.burst = 4;
  options.attempts.per_second = 0;
  auto a = start(options, of_a);
  a->set_status({100, 100});
  auto b = start(on_loopback(3, port, {2}), of_b);
  b->set_status({50, 50});
  BOOST_REQUIRE(of_a.wait_for(what::symmetric, host(3)));
  auto began = std::chrono::steady_clock::now();
  auto attacker = net::udp_broadcast::open({0, free_port()});
  BOOST_REQUIRE(attacker.ok());
  std::mt19937 random(1);
  for (uint32_t i = 0; i < 2000; ++i) {
    net::hello_message hello;
    hello.originator = 0x7f010000u + i;
    hello.compute = hello.memory = 0x80 | 100;
    hello.links = {{host(2), net::link_type::symmetric, net::neighbour_type::symmetric}};
    auto bytes = *net::encode_packet({static_cast<uint16_t>(i), {hello}, 0});
    if (i % 4 == 0)
      bytes[random() % bytes.size()] ^= 0x5a;
    BOOST_REQUIRE(attacker->send(bytes, 0x7f010000u + i, {host(2), port}).ok());
    if (i % 50 == 0)
      std::this_thread::sleep_for(10ms); // else the system drops most of them
  }
  BOOST_REQUIRE(of_b.wait_for(what::symmetric, host(2)));
  std::this_thread::sleep_for(2s); // HELLOs of b among what is left
  auto seen = a->snapshot();
  BOOST_TEST(seen.hostile > 0u);
  BOOST_TEST(seen.refused > 0u);
  BOOST_TEST(seen.limited > 0u);
  auto said = of_a.turned_away();
  auto minutes = std::chrono::ceil<std::chrono::minutes>(std::chrono::steady_clock::now() - began);
  BOOST_REQUIRE(!said.empty());
  BOOST_TEST(said.size() <= static_cast<size_t>(minutes.count()));
  BOOST_TEST(said.front() > 0u);
  BOOST_TEST(seen.neighbours.size() <= 256u);
  auto friendly = line_of(seen, host(3));
  BOOST_REQUIRE(friendly);
  BOOST_TEST((friendly->status == policy::link_status::symmetric));
  auto tried = of_a.candidates();
  auto strangers = std::count_if(tried.begin(), tried.end(), [](auto x) { return x != host(3); });
  BOOST_TEST(strangers == 4);
  BOOST_TEST(of_a.count(what::lost, host(3)) == 0u);
}

BOOST_AUTO_TEST_CASE(who_is_connected_is_no_candidate) {
  auto port = free_port();
  ears of_a, of_b;
  auto a = start(on_loopback(2, port, {3}), of_a);
  a->set_connected(host(3), true);
  auto b = start(on_loopback(3, port, {2}), of_b);
  b->set_status({50, 50});
  BOOST_REQUIRE(of_a.wait_for(what::symmetric, host(3)));
  BOOST_TEST(of_a.candidates().empty());
  BOOST_TEST(line_of(a->snapshot(), host(3))->connected);
}

BOOST_AUTO_TEST_CASE(it_may_be_stopped_from_anywhere_and_used_by_many_threads) {
  auto port = free_port();
  ears of_b;
  perception_loop* a_of_callback = nullptr;
  std::atomic<int> after_stop = 0;
  perception_callbacks stops_itself;
  std::mutex made;
  stops_itself.changed = [&](const auto&) {
    std::lock_guard lock(made);
    ++after_stop;
    a_of_callback->stop();
  };
  std::unique_lock lock(made);
  auto a = perception_loop::start(on_loopback(2, port, {3}), stops_itself);
  BOOST_REQUIRE(a.ok());
  a_of_callback = a->get();
  lock.unlock();
  auto b = start(on_loopback(3, port, {2}), of_b);
  std::vector<std::thread> users;
  for (int t = 0; t < 4; ++t)
    users.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        b->set_status({i % 100 * 1.0, t * 20.0});
        b->set_connected(host(2), i % 2);
        b->snapshot();
      }
    });
  for (auto& x : users)
    x.join();
  BOOST_TEST(of_b.wait_for(what::symmetric, host(2)));
  BOOST_TEST(of_b.wait_for(what::lost, host(2))); // a stopped when it had met b
  BOOST_TEST(after_stop.load() == 1);
  std::thread first([&] { b->stop(); });
  b->stop();
  first.join();
  b->set_status({1, 1}); // harmless
}

BOOST_AUTO_TEST_CASE(options_that_cannot_work_are_refused_with_advice) {
  auto says = [](perception_options options, const std::string& part) {
    auto loop = perception_loop::start(std::move(options), {});
    return !loop.ok() && loop.err().message.find(part) != std::string::npos;
  };
  auto port = free_port();
  auto alone = on_loopback(2, port, {});
  BOOST_TEST(says(alone, "name static peers"));
  alone.broadcast = true;
  BOOST_TEST(says(alone, "leave the address out"));
  auto nowhere = on_loopback(2, port, {3});
  nowhere.bound.address = 0xc0000201;
  BOOST_TEST(says(nowhere, "no such address"));
  auto unknown = on_loopback(2, port, {3});
  unknown.interfaces = {"no-such-if"};
  BOOST_TEST(says(unknown, "no-such-if"));
}

BOOST_AUTO_TEST_SUITE_END()
