// Link sensing, hysteresis and two-hop neighbours: single HELLOs, then nodes over a bad network.
#include "perception_network.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel::policy;
using namespace coel::policy::test;
using namespace std::chrono_literals;
using what = neighbour_event::what;

namespace {

constexpr ipv4_address me = 0x0a000001;
constexpr ipv4_address other = 0x0a000002;
constexpr ipv4_address far = 0x0a000009;

heard_packet hello(uint16_t sequence, std::vector<said_link> links = {},
                   ipv4_address from = other) {
  heard_packet packet{me, from, sequence, heard_hello{}};
  packet.hello->links = std::move(links);
  return packet;
}

said_link says(link_status link, ipv4_address whom = me) {
  return {whom, link, link == link_status::symmetric};
}

neighbours table_of_me(neighbour_options options = {}) {
  neighbours table(options);
  table.set_own({me});
  return table;
}

/// `other` is heard `count` times, every 2 s from `from` on, and lists us as `link`.
neighbours::events hear_often(neighbours& table, int count, moment from, link_status link,
                              uint16_t sequence = 0) {
  neighbours::events all;
  for (int i = 0; i < count; ++i) {
    auto packet = hello(static_cast<uint16_t>(sequence + i), {says(link)});
    auto more = table.hear(packet, from + i * 2s);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

size_t count(const neighbours::events& all, what kind) {
  size_t n = 0;
  for (const auto& x : all)
    n += x.kind == kind;
  return n;
}

link_status status_of_other(const neighbours& table, moment now) {
  auto lines = table.view(now);
  return lines.empty() ? link_status::unspecified : lines[0].status;
}

} // namespace

BOOST_AUTO_TEST_SUITE(neighbour_table)

BOOST_AUTO_TEST_CASE(a_link_is_said_from_the_third_hello_on) {
  auto table = table_of_me();
  table.hear(hello(1), 0s);
  BOOST_TEST(table.say(me, 0s).empty()); // quality 0.5
  table.hear(hello(2), 2s);
  BOOST_TEST(table.say(me, 2s).empty()); // 0.75, and the threshold is 0.8
  table.hear(hello(3), 4s);
  BOOST_TEST((table.say(me, 4s) == std::vector{said_link{other, link_status::asymmetric, false}}));
  BOOST_TEST(table.say(far, 4s).empty()); // not by another interface
}

BOOST_AUTO_TEST_CASE(being_listed_makes_it_symmetric_and_being_called_lost_ends_that) {
  for (auto listed : {link_status::asymmetric, link_status::symmetric}) {
    auto table = table_of_me();
    auto all = hear_often(table, 3, 0s, listed);
    BOOST_TEST(count(all, what::symmetric) == 1u);
    BOOST_TEST((table.say(me, 4s) == std::vector{says(link_status::symmetric, other)}));
    auto more = table.hear(hello(3, {says(link_status::lost)}), 6s);
    BOOST_REQUIRE_EQUAL(more.size(), 1u);
    BOOST_TEST((more[0].kind == what::lost));
    BOOST_TEST(more[0].address == other);
    BOOST_TEST(
        (table.say(me, 6s) == std::vector{said_link{other, link_status::asymmetric, false}}));
  }
}

BOOST_AUTO_TEST_CASE(only_our_own_address_counts_and_no_unspecified_link) {
  auto table = table_of_me();
  for (uint16_t i = 0; i < 5; ++i)
    table.hear(hello(i, {says(link_status::symmetric, far), {me, link_status::unspecified, true}}),
               i * 2s);
  BOOST_TEST((status_of_other(table, 8s) == link_status::asymmetric));
}

BOOST_AUTO_TEST_CASE(silence_loses_it_says_so_and_then_forgets) {
  auto table = table_of_me();
  hear_often(table, 6, 0s, link_status::symmetric); // last at 10 s
  BOOST_TEST(table.advance(14s).empty());           // one missed HELLO is no loss
  auto lost = table.advance(15s);                   // the second is: 10 s + 2.5 s + 2 s
  BOOST_TEST(count(lost, what::lost) == 1u);
  BOOST_TEST((table.say(me, 15s) == std::vector{said_link{other, link_status::lost, false}}));
  BOOST_TEST(table.advance(21s).empty());
  BOOST_TEST(table.say(me, 21s).empty()); // said to be lost for 6 s, then nothing
  BOOST_TEST(table.advance(22s).empty()); // 10 s + 6 s + 6 s
  BOOST_TEST(table.view(22s).empty());
  BOOST_TEST((table.next_deadline() == moment::max()));
}

BOOST_AUTO_TEST_CASE(a_gap_in_the_numbers_counts_once_with_the_silence_that_it_was) {
  auto table = table_of_me();
  hear_often(table, 6, 0s, link_status::symmetric); // numbers 0 to 5, last at 10 s
  table.advance(12600ms);                           // number 6 is missed
  auto all = table.hear(hello(7, {says(link_status::symmetric)}), 14s);
  BOOST_TEST(all.empty());
  BOOST_TEST(table.view(14s)[0].quality > 0.7);
  all = table.hear(hello(10, {says(link_status::symmetric)}), 15s); // 8 and 9 are missed at once
  BOOST_TEST(count(all, what::lost) == 1u);
}

BOOST_AUTO_TEST_CASE(old_packets_say_nothing_and_a_restart_is_heard) {
  auto table = table_of_me();
  hear_often(table, 3, 0s, link_status::symmetric, 100);
  BOOST_TEST(table.hear(hello(101, {says(link_status::lost)}), 4s).empty());
  BOOST_TEST((status_of_other(table, 4s) == link_status::symmetric));
  auto all = table.hear(hello(7, {says(link_status::lost)}), 5s);
  BOOST_TEST(count(all, what::lost) == 1u);
  auto wrapped = table_of_me();
  BOOST_TEST(count(hear_often(wrapped, 4, 0s, link_status::symmetric, 65534), what::symmetric) ==
             1u);
  BOOST_TEST((status_of_other(wrapped, 6s) == link_status::symmetric));
}

BOOST_AUTO_TEST_CASE(two_hop_neighbours_come_from_symmetric_neighbours_and_go_with_them) {
  auto table = table_of_me();
  std::vector<said_link> links{says(link_status::symmetric),
                               says(link_status::symmetric, far),
                               {far + 1, link_status::asymmetric, false}};
  for (uint16_t i = 0; i < 2; ++i)
    table.hear(hello(i, links), i * 2s);
  BOOST_TEST(table.view(2s)[0].two_hop.empty()); // not symmetric yet
  table.hear(hello(2, links), 4s);
  BOOST_TEST((table.view(4s)[0].two_hop == std::vector{far}));
  links[1] = {far, link_status::lost, false};
  table.hear(hello(3, links), 6s);
  BOOST_TEST(table.view(6s)[0].two_hop.empty());
  links[1] = {far, link_status::unspecified, true}; // a neighbour by another interface
  table.hear(hello(4, links), 8s);
  BOOST_TEST((table.view(8s)[0].two_hop == std::vector{far}));
  links[1] = {far + 2, link_status::symmetric, true};
  table.hear(hello(5, links), 10s);
  table.hear(hello(6, links), 12s);
  table.hear(hello(7, links), 14s); // far was listed last at 8 s
  BOOST_TEST((table.view(14s)[0].two_hop == std::vector{far + 2}));
  table.advance(30s);
  BOOST_TEST(table.view(30s).empty());
}

BOOST_AUTO_TEST_CASE(resources_are_kept_while_not_said_and_told_when_they_change) {
  auto table = table_of_me();
  auto packet = hello(0, {says(link_status::symmetric)});
  packet.hello->free = {50, 60};
  BOOST_TEST(count(table.hear(packet, 0s), what::heard) == 1u);
  auto all = hear_often(table, 3, 2s, link_status::symmetric, 1);
  BOOST_TEST(count(all, what::symmetric) == 1u);
  BOOST_TEST(count(all, what::status_changed) == 0u);
  BOOST_TEST((table.view(6s)[0].free == free_resources{50, 60}));
  packet.sequence = 4;
  packet.hello->free = {{}, 10};
  all = table.hear(packet, 8s);
  BOOST_TEST(count(all, what::status_changed) == 1u);
  BOOST_TEST((all[0].free == free_resources{50, 10}));
}

BOOST_AUTO_TEST_CASE(candidates_are_nodes_of_coel_without_a_connection) {
  auto table = table_of_me();
  BOOST_TEST(count(hear_often(table, 5, 0s, link_status::symmetric), what::heard) == 0u);
  auto packet = hello(5);
  packet.hello->free = {{}, 60};
  BOOST_TEST(count(table.hear(packet, 10s), what::heard) == 1u);
  packet.sequence = 6;
  table.set_connected(other, true);
  BOOST_TEST(count(table.hear(packet, 12s), what::heard) == 0u);
  packet.sequence = 7;
  table.set_connected(other, false);
  BOOST_TEST(count(table.hear(packet, 14s), what::heard) == 1u);
}

BOOST_AUTO_TEST_CASE(echoes_and_addresses_that_are_no_nodes_are_ignored) {
  auto table = table_of_me();
  for (ipv4_address from :
       {me, ipv4_address{0}, ipv4_address{0xffffffff}, ipv4_address{0xe0000001}})
    BOOST_TEST(table.hear(hello(0, {}, from), 0s).empty());
  heard_packet empty{me, other, 1, {}}; // no HELLO in it: not a reason to know somebody
  table.hear(empty, 0s);
  BOOST_TEST(table.view(0s).empty());
}

BOOST_AUTO_TEST_CASE(packets_without_a_hello_keep_the_numbers_together) {
  auto table = table_of_me();
  neighbours::events all;
  for (uint16_t i = 0; i < 20; ++i) {
    heard_packet topology{me, other, static_cast<uint16_t>(2 * i + 1), {}};
    auto more = table.hear(hello(2 * i, {says(link_status::symmetric)}), i * 2s);
    all.insert(all.end(), more.begin(), more.end());
    table.hear(topology, i * 2s + 1s);
  }
  BOOST_TEST(count(all, what::symmetric) == 1u);
  BOOST_TEST(count(all, what::lost) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
