// What is told and when: status bytes, HELLO times, connection attempts, link estimates.
#include "policy/perception.hpp"
#include "policy/perception_attempts.hpp"
#include "policy/perception_links.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>

using namespace coel::policy;
using namespace std::chrono_literals;

namespace {

/// Times of the HELLOs from `from` until `end`, and what each carried.
struct sent_hello {
  moment when;
  free_resources free;
};

std::vector<sent_hello> run(hello_schedule& schedule, moment end) {
  std::vector<sent_hello> out;
  for (auto now = schedule.next(); now < end; now = schedule.next())
    out.push_back({now, schedule.send(now)});
  return out;
}

bool is_empty(const free_resources& x) {
  return x == free_resources{};
}

} // namespace

BOOST_AUTO_TEST_SUITE(perception)

BOOST_AUTO_TEST_CASE(status_bytes_mark_presence_and_know_their_range) {
  BOOST_TEST(to_status_byte({}) == 0x00);
  BOOST_TEST(to_status_byte(0) == 0x80);
  BOOST_TEST(to_status_byte(55) == (0x80 | 55));
  BOOST_TEST(to_status_byte(100) == (0x80 | 100));
  BOOST_TEST(to_status_byte(101) == (0x80 | 100));
  for (int byte = 0; byte < 256; ++byte) {
    auto percent = from_status_byte(static_cast<uint8_t>(byte));
    bool meaningful = byte >= 0x80 && byte <= (0x80 | 100);
    BOOST_TEST(percent.has_value() == meaningful, "byte " << byte);
    if (percent)
      BOOST_TEST(to_status_byte(percent) == byte);
  }
}

BOOST_AUTO_TEST_CASE(load_is_idle_time_and_the_fullest_memory) {
  std::vector<memory_room> rooms{{50, 100}, {3, 10}, {8, 8}};
  auto load = measure_load(0.25, rooms);
  BOOST_TEST(load.compute_percent == 75.0);
  BOOST_TEST(load.memory_percent == 30.0);
  BOOST_TEST(measure_load(1.5, rooms).compute_percent == 0.0);
  BOOST_TEST(measure_load(std::nan(""), rooms).compute_percent == 0.0);
  BOOST_TEST(measure_load(0, {}).memory_percent == 0.0);
  rooms.push_back({0, 0});
  BOOST_TEST(measure_load(0, rooms).memory_percent == 0.0);
  rooms.back() = {20, 10}; // more free than there is
  BOOST_TEST(measure_load(0, rooms).memory_percent == 30.0);
}

BOOST_AUTO_TEST_CASE(hellos_come_every_two_seconds_less_a_jitter) {
  for (uint32_t seed = 1; seed <= 50; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      hello_schedule schedule({}, seed, 10s);
      auto sent = run(schedule, 1010s);
      BOOST_TEST((sent[0].when >= 10s && sent[0].when <= 10500ms));
      moment least = 10s, most = 0s;
      for (size_t i = 1; i < sent.size(); ++i) {
        least = std::min(least, sent[i].when - sent[i - 1].when);
        most = std::max(most, sent[i].when - sent[i - 1].when);
        BOOST_TEST(is_empty(sent[i].free)); // no load is known
      }
      BOOST_TEST((least >= 1500ms && least < 1550ms));
      BOOST_TEST((most <= 2000ms && most > 1950ms));
    }
}

BOOST_AUTO_TEST_CASE(a_status_is_said_twice_then_refreshed_at_every_tenth_hello) {
  hello_schedule schedule({}, 1, 0s);
  schedule.set_load({40, 60}, 0s);
  auto sent = run(schedule, 60s);
  BOOST_REQUIRE(sent.size() > 23);
  for (size_t i = 0; i < 24; ++i) {
    bool carried = i == 0 || i == 1 || i == 11 || i == 21;
    BOOST_TEST(is_empty(sent[i].free) != carried, "HELLO " << i);
    if (carried)
      BOOST_TEST((sent[i].free == free_resources{40, 60}));
  }
}

BOOST_AUTO_TEST_CASE(a_newcomer_is_told_with_the_next_hello) {
  hello_schedule schedule({}, 1, 0s);
  schedule.set_load({40, 60}, 0s);
  auto before = run(schedule, 10s);
  BOOST_TEST(is_empty(before.back().free));
  schedule.newcomer();
  auto after = run(schedule, 16s);
  BOOST_TEST(!is_empty(after[0].free));
  BOOST_TEST(is_empty(after[1].free));
}

BOOST_AUTO_TEST_CASE(small_swings_are_never_said) {
  hello_schedule schedule({}, 1, 0s);
  schedule.set_load({50, 50}, 0s);
  run(schedule, 5s); // said, and said again
  size_t carried = 0, all = 0;
  for (int i = 0; i < 100; ++i) {
    schedule.set_load({i % 2 ? 53.0 : 47.0, 50}, 5s + i * 1s);
    for (const auto& x : run(schedule, 6s + i * 1s)) {
      ++all;
      if (!is_empty(x.free)) {
        ++carried;
        BOOST_TEST((x.free == free_resources{50, 50})); // the refresh
      }
    }
  }
  BOOST_TEST(all >= 50u);
  BOOST_TEST(carried <= all / 10 + 1);
}

BOOST_AUTO_TEST_CASE(a_slow_drift_is_said_although_no_step_of_it_is_large) {
  hello_schedule schedule({}, 1, 0s);
  free_resources last;
  for (int percent = 100; percent >= 0; --percent) {
    auto start = (100 - percent) * 4s;
    schedule.set_load({100, static_cast<double>(percent)}, start);
    for (const auto& x : run(schedule, start + 4s)) {
      if (!is_empty(x.free))
        last = x.free;
      BOOST_TEST(std::abs(*last.memory - percent) <= 6, "at " << percent << " %");
    }
  }
}

BOOST_AUTO_TEST_CASE(a_large_change_does_not_wait_for_the_interval) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      hello_schedule schedule({}, seed, 0s);
      schedule.set_load({100, 100}, 0s);
      auto before = run(schedule, 10s + moment(seed * 7919));
      auto changed = before.back().when + 100ms; // within the least gap
      schedule.set_load({20, 100}, changed);
      auto after = run(schedule, changed + 1900ms);
      BOOST_REQUIRE(!after.empty());
      // The average is 10 points away after 1 s * ln(80/70) = 134 ms; the gap ends after 400 ms.
      BOOST_TEST((after[0].when - before.back().when == 500ms));
      BOOST_TEST(*after[0].free.compute == std::lround(20 + 80 * std::exp(-0.4)));
      for (size_t i = 1; i < after.size(); ++i)
        BOOST_TEST((after[i].when - after[i - 1].when >= 500ms));
      BOOST_TEST(!is_empty(after.back().free));
      auto rest = run(schedule, changed + 10s);
      free_resources last;
      for (const auto& x : rest)
        last = is_empty(x.free) ? last : x.free;
      BOOST_TEST(std::abs(*last.compute - 20) <= 5);
    }
}

BOOST_AUTO_TEST_CASE(whatever_the_load_does_hellos_keep_their_gap_and_their_pace) {
  for (uint32_t seed = 1; seed <= 100; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      hello_schedule schedule({}, seed, 0s);
      moment now = 0s;
      std::vector<sent_hello> all;
      while (now < 100s) {
        schedule.set_load({static_cast<double>(random() % 140) - 20, double(random() % 101)}, now);
        now += moment(random() % 3'000'000);
        for (const auto& x : run(schedule, now))
          all.push_back(x);
      }
      for (size_t i = 1; i < all.size(); ++i) {
        auto gap = all[i].when - all[i - 1].when;
        BOOST_TEST((gap >= 500ms && gap <= 2s));
      }
      for (const auto& x : all)
        if (x.free.compute)
          BOOST_TEST((*x.free.compute <= 100 && *x.free.memory <= 100));
    }
}

BOOST_AUTO_TEST_CASE(attempts_at_one_address_get_rarer_until_one_succeeds) {
  attempt_limiter limiter;
  std::vector<int64_t> at;
  for (moment now = 0s; now < 3600s; now += 1s)
    if (limiter.admit(7, now))
      at.push_back(now / 1s);
  BOOST_TEST(at[0] == 0);
  BOOST_TEST(at[1] == 5);
  BOOST_TEST(at[2] == 15);
  BOOST_TEST(at[3] == 35);
  BOOST_TEST(at.back() - at[at.size() - 2] == 300);
  limiter.succeeded(7);
  BOOST_TEST(limiter.admit(7, 3600s));
  BOOST_TEST(!limiter.admit(7, 3604s));
  BOOST_TEST(limiter.admit(7, 3605s));
}

BOOST_AUTO_TEST_CASE(a_flood_of_addresses_gets_the_total_rate_and_the_configured_get_theirs) {
  attempt_limiter limiter;
  limiter.expect(7);
  uint32_t strangers = 0, expected = 0;
  std::mt19937 random(1);
  for (moment now = 0s; now < 100s; now += 1ms) {
    strangers += limiter.admit(1000 + random() % 1'000'000, now);
    expected += limiter.admit(7, now);
  }
  BOOST_TEST(strangers >= 110u);
  BOOST_TEST(strangers <= 117u); // 16 at once and one a second
  BOOST_TEST(expected == 5u);    // 0, 5, 15, 35, 75 s
  BOOST_TEST(limiter.remembered() <= 1024u);
  attempt_options small;
  small.max_addresses = 10;
  small.burst = 1000;
  attempt_limiter forgetful(small);
  for (uint32_t a = 0; a < 1000; ++a)
    BOOST_TEST(forgetful.admit(a, moment(a)));
  BOOST_TEST(forgetful.remembered() == 10u);
  BOOST_TEST(!forgetful.admit(999, 1s));
}

BOOST_AUTO_TEST_CASE(round_trips_are_smoothed_with_the_gains_of_rfc_6298) {
  rtt_estimator rtt;
  BOOST_TEST((rtt.smoothed() == 20ms)); // assumed
  rtt.add(1000us, 0s);
  BOOST_TEST((rtt.smoothed() == 1000us));
  BOOST_TEST((rtt.deviation() == 500us));
  BOOST_TEST((rtt.patience(1ms) == 3ms));
  rtt.add(1800us, 1s);
  BOOST_TEST((rtt.smoothed() == 1100us)); // + (1800 - 1000) / 8
  BOOST_TEST((rtt.deviation() == 575us)); // + (800 - 500) / 4
  BOOST_TEST((rtt.patience(50ms) == 50ms));
  for (int i = 0; i < 200; ++i)
    rtt.add(400us, 2s);
  BOOST_TEST((rtt.smoothed() == 400us));
  BOOST_TEST((rtt.deviation() == 0us));
}

BOOST_AUTO_TEST_CASE(the_least_round_trip_is_of_the_last_ten_seconds) {
  for (uint32_t seed = 1; seed <= 20; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      rtt_estimator rtt;
      std::vector<std::pair<link_time, link_time>> all;
      link_time now = 0s;
      for (int i = 0; i < 1000; ++i) {
        now += link_time(20'000 + random() % 200'000);
        all.emplace_back(now, link_time(random() % 5000));
        rtt.add(all.back().second, now);
        auto least = link_time::max();
        for (const auto& [when, value] : all)
          if (now - when <= 10s)
            least = std::min(least, value);
        BOOST_TEST((rtt.least(now) == least));
      }
      BOOST_TEST((rtt.least(now + 11s) == rtt.smoothed()));
    }
}

BOOST_AUTO_TEST_CASE(the_share_of_the_link_excludes_work_queue_and_bytes) {
  round_trip x{1000us, 11000us, 2000us, 3000us, 1250};
  BOOST_TEST((*link_share(x, 1'250'000) == 4ms)); // 10 - 2 - 3 - 1 ms of bytes
  BOOST_TEST((*link_share(x, 0) == 5ms));         // nothing known of the goodput
  x.bytes = 1'000'000;
  BOOST_TEST((*link_share(x, 1'250'000) == 0ms));
  x.worked = 9000us; // more than passed
  BOOST_TEST(!link_share(x, 1'250'000));
  x.worked = -5000us;
  BOOST_TEST(!link_share(x, 1'250'000));
  x.worked = link_time::max();
  x.queued = link_time::max();
  BOOST_TEST(!link_share(x, 1'250'000));
}

BOOST_AUTO_TEST_CASE(goodput_follows_large_transfers_only) {
  goodput_estimator goodput;
  BOOST_TEST(goodput.bytes_per_s() == 1'250'000.0); // assumed
  BOOST_TEST(!goodput.add(32 * 1024 - 1, 1us, 0s));
  BOOST_TEST(!goodput.add(1 << 20, 0us, 0s));
  BOOST_TEST(goodput.bytes_per_s() == 1'250'000.0);
  BOOST_TEST(goodput.add(1'000'000, 10ms, 0s));
  BOOST_TEST(goodput.bytes_per_s() == 1e8);
  for (int i = 0; i < 4; ++i)
    goodput.add(1'000'000, 100ms, 1s); // something was in the way
  BOOST_TEST(goodput.bytes_per_s() == 1e8);
  goodput.add(1'000'000, 100ms, 2s); // the fifth: it is the link
  BOOST_TEST(goodput.bytes_per_s() == 1e8 + (1e7 - 1e8) / 4);
}

BOOST_AUTO_TEST_CASE(probes_are_rare_and_only_for_want_of_samples) {
  goodput_estimator goodput;
  BOOST_TEST(goodput.take_probe(0s));
  BOOST_TEST(!goodput.take_probe(29s));
  BOOST_TEST(goodput.take_probe(30s));
  goodput.add(1 << 20, 10ms, 40s);
  BOOST_TEST(!goodput.take_probe(99s));
  BOOST_TEST(goodput.take_probe(100s));
}

BOOST_AUTO_TEST_SUITE_END()
