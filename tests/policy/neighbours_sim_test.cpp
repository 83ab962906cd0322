// Nodes over a network that drops, delays and reorders; and floods of forged HELLOs.
#include "perception_network.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel::policy;
using namespace coel::policy::test;
using namespace std::chrono_literals;
using what = neighbour_event::what;

namespace {

constexpr ipv4_address me = network::address(0);
constexpr ipv4_address friendly = network::address(1);

/// A tenth is lost, and what arrives is up to 2.5 s late, so that packets overtake each other.
const network_options bad{0.1, 2500ms, {}};

heard_packet forged(uint32_t n, std::mt19937& random) {
  heard_packet packet{me, 0x0b000000 + n, static_cast<uint16_t>(random()), heard_hello{}};
  packet.hello->validity = 3968s;
  packet.hello->interval = 1us;
  packet.hello->free = {100, 100};
  for (auto k = random() % 3; k > 0; --k)
    packet.hello->links.push_back({me, link_status{static_cast<uint8_t>(random() % 4)}, true});
  for (auto k = random() % 50; k > 0; --k)
    packet.hello->links.push_back(
        {static_cast<ipv4_address>(random()), link_status::symmetric, true});
  return packet;
}

heard_packet genuine(uint16_t sequence) {
  heard_packet packet{me, friendly, sequence, heard_hello{}};
  packet.hello->free = {70, 80};
  packet.hello->links = {{me, link_status::symmetric, true}};
  return packet;
}

size_t two_hop_total(const neighbours& table, moment now) {
  size_t n = 0;
  for (const auto& x : table.view(now))
    n += x.two_hop.size();
  return n;
}

struct flood_outcome {
  size_t most_links = 0;
  size_t most_two_hop = 0;
  size_t lost_friend = 0;
  bool friend_symmetric = false;
};

/// 60 s of 100 forged HELLOs a second, every one from another address unless `addresses` bounds
/// them, beside a friend who says HELLO every 2 s and was there `first`, or is protected.
flood_outcome flood(uint32_t seed, bool first, bool is_protected, uint32_t addresses) {
  std::mt19937 random(seed);
  neighbours table;
  table.set_own({me});
  if (is_protected)
    table.protect(friendly);
  flood_outcome out;
  uint16_t sequence = 0;
  moment now = 0s;
  for (; first && sequence < 3; now += 2s)
    table.hear(genuine(sequence++), now);
  for (uint32_t n = 0; n < 6000; ++n, now += 10ms) {
    auto told = table.hear(forged(n % addresses, random), now);
    if (n % 200 == 0)
      for (const auto& x : table.hear(genuine(sequence++), now))
        told.push_back(x);
    for (const auto& x : table.advance(now))
      told.push_back(x);
    for (const auto& x : told)
      out.lost_friend += x.address == friendly && x.kind == what::lost;
    out.most_links = std::max(out.most_links, table.view(now).size());
    if (n % 50 == 0)
      out.most_two_hop = std::max(out.most_two_hop, two_hop_total(table, now));
  }
  for (const auto& x : table.view(now))
    out.friend_symmetric |= x.address == friendly && x.status == link_status::symmetric;
  return out;
}

} // namespace

BOOST_AUTO_TEST_SUITE(neighbour_simulation)

BOOST_AUTO_TEST_CASE(two_nodes_meet_part_by_silence_and_meet_again) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      network net(2, seed, {0, 100ms, {}});
      net.run(15s);
      BOOST_TEST(net.all_symmetric());
      BOOST_TEST(net.count(0, what::symmetric) == 1u);
      net.at(1).alive = false;
      net.run(7s);
      BOOST_TEST(net.count(0, what::lost) == 1u);
      BOOST_TEST((net.status(1, 0) == link_status::lost));
      net.run(20s);
      BOOST_TEST(net.at(0).table.view(net.now()).empty());
      net.restart(1);
      net.run(15s);
      BOOST_TEST(net.all_symmetric());
      BOOST_TEST(net.count(0, what::symmetric) == 2u);
      BOOST_TEST(net.count(0, what::lost) == 1u);
    }
}

BOOST_AUTO_TEST_CASE(five_nodes_meet_over_a_bad_network_and_stay_once_it_is_mended) {
  for (uint32_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      network net(5, seed, bad);
      net.run(60s);
      for (size_t i = 0; i < 5; ++i) {
        std::set<ipv4_address> met;
        for (const auto& x : net.at(i).told)
          if (x.kind == what::symmetric)
            met.insert(x.address);
        BOOST_TEST(met.size() == 4u);
      }
      net.set_quality(0, 50ms);
      net.run(20s);
      BOOST_TEST(net.all_symmetric());
      for (size_t i = 0; i < 5; ++i)
        net.at(i).told.clear();
      net.run(60s);
      for (size_t i = 0; i < 5; ++i)
        BOOST_TEST(net.count(i, what::lost) == 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_one_way_link_is_never_symmetric) {
  for (uint32_t seed = 1; seed <= 50; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      network net(2, seed, {0.05, 50ms, {}});
      net.reaches = [](size_t from, size_t) { return from == 0; };
      net.run(120s);
      BOOST_TEST(net.count(0, what::symmetric) == 0u);
      BOOST_TEST(net.count(1, what::symmetric) == 0u);
      BOOST_TEST((net.status(0, 1) != link_status::symmetric));
    }
}

BOOST_AUTO_TEST_CASE(a_line_of_five_knows_the_next_but_one) {
  for (uint32_t seed = 1; seed <= 50; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      network net(5, seed, {0, 20ms, {}});
      net.reaches = [](size_t from, size_t to) { return from + 1 == to || to + 1 == from; };
      net.run(25s);
      auto lines = net.at(2).table.view(net.now());
      BOOST_REQUIRE_EQUAL(lines.size(), 2u);
      BOOST_TEST((lines[0].two_hop == std::vector{network::address(0)}));
      BOOST_TEST((lines[1].two_hop == std::vector{network::address(4)}));
      net.at(3).alive = false;
      net.run(20s);
      lines = net.at(2).table.view(net.now());
      BOOST_REQUIRE_EQUAL(lines.size(), 1u);
      BOOST_TEST((lines[0].two_hop == std::vector{network::address(0)}));
    }
}

BOOST_AUTO_TEST_CASE(a_restart_is_noticed_and_mended) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      network net(2, seed, {0, 100ms, {}});
      net.run(20s);
      net.restart(1);
      net.run(25s);
      BOOST_TEST(net.all_symmetric());
      BOOST_TEST(net.count(1, what::symmetric) == 2u);
    }
}

// A link that delivers a third of its packets: without hysteresis two nodes would believe in it
// whenever three HELLOs in a row were not all lost.
BOOST_AUTO_TEST_CASE(flapping_is_damped) {
  size_t changes = 0, undamped_changes = 0;
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    for (bool damped : {true, false}) {
      network_options options{0.67, 50ms, {}};
      if (!damped) {
        options.table.high = 0;
        options.table.low = 0;
      }
      network net(2, seed, options);
      net.run(600s);
      (damped ? changes : undamped_changes) +=
          net.count(0, what::symmetric) + net.count(0, what::lost);
    }
  }
  BOOST_TEST_MESSAGE("changes in 50 runs of 10 minutes: " << changes << ", without hysteresis "
                                                          << undamped_changes);
  BOOST_TEST(changes * 4 < undamped_changes);
}

BOOST_AUTO_TEST_CASE(single_losses_are_no_event) {
  for (uint32_t seed = 1; seed <= 50; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      network net(2, seed, {0, 20ms, {}});
      net.run(20s);
      for (int i = 0; i < 20; ++i) { // cut for less than two HELLOs, then whole for four
        net.reaches = [](size_t, size_t) { return false; };
        net.run(1500ms);
        net.reaches = [](size_t, size_t) { return true; };
        net.run(8s);
      }
      BOOST_TEST(net.count(0, what::lost) == 0u);
      BOOST_TEST(net.count(1, what::lost) == 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_flood_of_forged_hellos_stays_within_bounds_and_evicts_no_friend) {
  neighbour_options limits;
  for (uint32_t seed = 1; seed <= 4; ++seed)
    for (uint32_t addresses : {100000u, 300u, 255u})
      for (bool first : {true, false}) {
        BOOST_TEST_CONTEXT("seed " << seed << ", " << addresses << " addresses, friend first "
                                   << first) {
          auto got = flood(seed, first, !first, addresses);
          BOOST_TEST(got.most_links <= limits.max_links);
          BOOST_TEST(got.most_links >= limits.max_links - 1); // it was a flood
          BOOST_TEST(got.most_two_hop <= limits.max_two_hop);
          BOOST_TEST(got.lost_friend == 0u);
          BOOST_TEST(got.friend_symmetric);
        }
      }
}

BOOST_AUTO_TEST_CASE(who_is_connected_displaces_a_stranger_and_strangers_nobody_symmetric) {
  neighbour_options options;
  options.max_links = 3;
  neighbours table(options);
  table.set_own({me});
  for (uint32_t n = 0; n < 3; ++n)
    for (uint16_t i = 0; i < 3; ++i) {
      auto packet = genuine(i);
      packet.source = 0x0b000000 + n;
      table.hear(packet, 0s);
    }
  for (moment now = 0s; now < 6s; now += 1s)
    table.hear(genuine(0), now);
  BOOST_TEST(table.refused() == 6u);
  table.set_connected(friendly, true);
  auto all = table.hear(genuine(0), 6s);
  BOOST_REQUIRE_EQUAL(all.size(), 1u); // whose place it took is told
  BOOST_TEST((all[0].kind == what::lost));
  BOOST_TEST(table.view(6s).size() == 3u);
  BOOST_TEST(table.view(6s)[0].address == friendly);
}

BOOST_AUTO_TEST_CASE(what_is_protected_is_never_the_one_to_go) {
  neighbour_options options;
  options.max_links = 2;
  neighbours table(options);
  table.set_own({me});
  auto hear = [&](ipv4_address from, uint16_t sequence, moment now) {
    auto packet = genuine(sequence);
    packet.source = from;
    table.hear(packet, now);
  };
  auto has = [&](ipv4_address address) {
    for (const auto& x : table.view(10s))
      if (x.address == address)
        return true;
    return false;
  };
  table.protect(friendly);
  table.protect(friendly + 3);
  for (uint16_t i = 0; i < 3; ++i)
    hear(friendly + 1, i, 0s); // a stranger, symmetric, heard first
  hear(friendly, 0, 1s);       // protected, not symmetric
  hear(friendly + 2, 0, 9s);   // a stranger gets neither place
  BOOST_TEST((has(friendly) && has(friendly + 1)));
  hear(friendly + 3, 0, 10s); // who is protected gets the stranger's
  BOOST_TEST((has(friendly) && has(friendly + 3)));

  neighbours other(options);
  other.set_own({me});
  other.protect(friendly);
  for (uint16_t i = 0; i < 3; ++i) {
    auto packet = genuine(i);
    packet.source = friendly + 1;
    other.hear(packet, 0s);
  }
  auto packet = genuine(0);
  packet.source = friendly + 2; // not symmetric, and later
  other.hear(packet, 1s);
  other.hear(genuine(0), 2s);
  BOOST_TEST(other.view(2s)[0].address == friendly);
  BOOST_TEST(other.view(2s)[1].address == friendly + 1); // the symmetric one stays
}

BOOST_AUTO_TEST_CASE(two_hop_neighbours_are_bounded_for_one_and_for_all_and_given_back) {
  neighbour_options options;
  options.max_two_hop = 100;
  options.max_two_hop_of_one = 40;
  neighbours table(options);
  table.set_own({me});
  auto say = [&](uint32_t who, uint16_t from, moment start) {
    for (uint16_t i = from; i < from + 4; ++i) {
      auto packet = genuine(i);
      packet.source = friendly + who;
      for (uint32_t k = 0; k < 60; ++k)
        packet.hello->links.push_back({0x0c000000 + who * 100 + k, link_status::symmetric, true});
      table.hear(packet, start + (i - from) * 1s);
    }
  };
  for (int round = 0; round < 5; ++round) { // each time all are lost, and what they took is free
    auto start = round * 100s;
    say(0, 0, start);
    BOOST_TEST(two_hop_total(table, start + 3s) == 40u);
    for (uint32_t who = 1; who < 5; ++who)
      say(who, 0, start + 3s);
    BOOST_TEST(two_hop_total(table, start + 6s) == 100u);
    if (round % 2) {
      table.advance(start + 12s); // lost first, then forgotten
      BOOST_TEST(two_hop_total(table, start + 12s) == 0u);
    }
    table.advance(start + 90s);
    BOOST_TEST(table.view(start + 90s).empty());
  }
}

BOOST_AUTO_TEST_CASE(two_hop_neighbours_that_are_listed_no_more_make_room) {
  neighbour_options options;
  options.max_two_hop = 10;
  neighbours table(options);
  table.set_own({me});
  for (uint16_t i = 0; i < 100; ++i) {
    auto packet = genuine(i);
    for (uint32_t k = 0; k < 10; ++k) // others every 20 s
      packet.hello->links.push_back({0x0c000000 + i / 10 * 10u + k, link_status::symmetric, true});
    table.hear(packet, i * 2s);
    if (i % 10 == 9)
      BOOST_TEST(table.view(i * 2s)[0].two_hop.back() == 0x0c000000 + i / 10 * 10u + 9);
  }
}

BOOST_AUTO_TEST_CASE(a_stranger_who_stays_silent_makes_room_for_the_next) {
  neighbour_options options;
  options.max_links = 1;
  neighbours table(options);
  auto packet = genuine(0);
  packet.hello->validity = 3968s; // wants to stay for an hour
  table.hear(packet, 0s);
  packet.source = friendly + 1;
  table.hear(packet, 4s);
  BOOST_TEST(table.view(4s)[0].address == friendly);
  table.hear(packet, 5s);
  BOOST_TEST(table.view(5s)[0].address == friendly + 1);
  table.advance(65s);
  table.advance(66s);
  BOOST_TEST(table.view(66s).size() == 1u); // 60 s at most, and 6 s of being lost
  table.advance(71s);
  BOOST_TEST(table.view(71s).empty());
}

BOOST_AUTO_TEST_SUITE_END()
