#include "model/mirror_fetch.hpp"
#include "tests/model/mirror_support.hpp"

#include <cmath>
#include <functional>
#include <queue>
#include <random>

namespace {

using namespace coel;
using namespace coel::model;
using namespace coel::model::test;

constexpr uint32_t chunk_bytes = 4096;

/// A model that exists on paper only: the planner never looks at bytes.
manifest on_paper(uint32_t chunks) {
  return need(manifest::make(
      "", chunk_bytes,
      {{"model.gguf", uint64_t{chunks} * chunk_bytes, std::vector<sha256>(chunks)}}));
}

struct simulated_peer {
  chunk_set has;
  double bytes_per_us = 10;
  uint64_t latency_us = 200;
  double lies = 0, silences = 0, refusals = 0; // probabilities
  uint64_t dies_at_us = UINT64_MAX;
  bool is_told = false;       // the caller hears of the death, as of a closed link
  uint64_t busy_until_us = 0; // its link serves one chunk after the other
  uint64_t distrusted_until_us = 0;
  uint32_t delivered = 0;
};

/// Peers that serve a planner in virtual time. Checks at every request what must always hold.
class simulation {
 public:
  enum class kind { bytes, lie, refusal, death, nothing };
  struct event {
    uint64_t at_us = 0;
    uint32_t peer = 0;
    chunk_id chunk{};
    kind what{};
    bool operator>(const event& other) const { return at_us > other.at_us; }
  };

  simulation(fetch_planner& planner, fetch_options options, std::vector<simulated_peer> all,
             uint64_t seed)
      : peers(std::move(all)), planner_(planner), options_(options), random_(seed) {
    for (uint32_t p = 0; p < peers.size(); ++p) {
      planner_.peer_has(peer_id{p}, peers[p].has);
      if (peers[p].dies_at_us != UINT64_MAX && peers[p].is_told)
        events_.push({peers[p].dies_at_us, p, {}, kind::death});
    }
  }

  /// Until all is fetched or failed, or nothing can happen any more.
  void run() {
    for (uint32_t steps = 0; steps < 1'000'000 && planner_.progress(now_us).wanted > 0; ++steps) {
      for (const auto& request : planner_.plan(now_us))
        send(request);
      auto next = planner_.next_time_us(now_us);
      if (events_.empty() && next == UINT64_MAX)
        return;
      if (events_.empty() || next < events_.top().at_us) {
        now_us = std::max(now_us, next);
        continue;
      }
      auto e = events_.top();
      events_.pop();
      now_us = e.at_us;
      happen(e);
    }
  }

  std::vector<simulated_peer> peers;
  uint64_t now_us = 0;
  std::map<chunk_id, uint32_t> fetched; // how often
  /// Overrides what becomes of a delivered chunk: false is a wrong hash.
  std::function<bool(uint32_t peer, chunk_id, bool honest)> check =
      [](uint32_t, chunk_id, bool honest) { return honest; };

 private:
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }

  void send(const fetch_request& r) {
    auto p = index(r.peer);
    auto& peer = peers.at(p);
    BOOST_TEST(peer.has.has(r.chunk), "asked for what the peer has not announced");
    BOOST_TEST(!fetched.contains(r.chunk), "asked for what is here");
    BOOST_TEST(now_us >= peer.distrusted_until_us, "asked a peer that lied a moment ago");
    BOOST_TEST(r.deadline_us > now_us);
    std::erase_if(open_, [&](const auto& o) { return o.deadline_us <= now_us; });
    auto to_peer =
        std::count_if(open_.begin(), open_.end(), [&](const auto& o) { return o.peer == r.peer; });
    auto for_chunk = std::count_if(open_.begin(), open_.end(),
                                   [&](const auto& o) { return o.chunk == r.chunk; });
    BOOST_TEST(to_peer < options_.most_outstanding, "too many requests to one peer");
    BOOST_TEST(for_chunk == 0, "asked two peers for one chunk");
    open_.push_back(r);
    auto what = chance(peer.silences)   ? kind::nothing
                : chance(peer.lies)     ? kind::lie
                : chance(peer.refusals) ? kind::refusal
                                        : kind::bytes;
    peer.busy_until_us = std::max(now_us, peer.busy_until_us) +
                         static_cast<uint64_t>(chunk_bytes / peer.bytes_per_us);
    auto at = peer.busy_until_us + peer.latency_us;
    if (what != kind::nothing && at < peer.dies_at_us)
      events_.push({at, p, r.chunk, what});
  }

  void happen(const event& e) {
    auto& peer = peers[e.peer];
    auto id = peer_id{e.peer};
    std::erase_if(open_, [&](const auto& o) { return o.peer == id && o.chunk == e.chunk; });
    if (e.what == kind::death) {
      std::erase_if(open_, [&](const auto& o) { return o.peer == id; });
      planner_.peer_gone(id);
    } else if (e.what == kind::refusal) {
      peer.has.remove(e.chunk);
      planner_.refused(id, e.chunk, now_us);
    } else if (check(e.peer, e.chunk, e.what == kind::bytes)) {
      ++fetched[e.chunk];
      ++peer.delivered;
      planner_.arrived(id, e.chunk, now_us);
    } else {
      std::erase_if(open_, [&](const auto& o) { return o.peer == id; });
      peer.distrusted_until_us = now_us + options_.distrust_us;
      planner_.lied(id, e.chunk, now_us);
    }
  }

  fetch_planner& planner_;
  fetch_options options_;
  std::mt19937_64 random_;
  std::priority_queue<event, std::vector<event>, std::greater<>> events_;
  std::vector<fetch_request> open_;
};

void want_all(fetch_planner& planner, uint32_t chunks) {
  for (uint32_t i = 0; i < chunks; ++i)
    planner.want(chunk_id{i}, 0);
}

simulated_peer with_all(uint32_t chunks, double bytes_per_us = 10) {
  simulated_peer peer;
  peer.has = chunk_set::all(chunks);
  peer.bytes_per_us = bytes_per_us;
  return peer;
}

fetch_options quick() {
  fetch_options o;
  o.assumed_bytes_per_us = 10;
  o.least_timeout_us = 20'000;
  o.pause_us = 10'000;
  o.most_pause_us = 1'000'000;
  o.distrust_us = 500'000;
  return o;
}

simulated_peer random_peer(std::mt19937_64& random, uint32_t chunks) {
  auto uniform = [&](double a, double b) { return std::uniform_real_distribution<>(a, b)(random); };
  simulated_peer peer;
  peer.has = chunk_set(chunks);
  double share = uniform(0.1, 1.2);
  for (uint32_t i = 0; i < chunks; ++i)
    if (uniform(0, 1) < share)
      peer.has.add(chunk_id{i});
  peer.bytes_per_us = std::pow(10, uniform(-2, 2));
  peer.latency_us = static_cast<uint64_t>(uniform(0, 5000));
  if (uniform(0, 1) < 0.3)
    peer.lies = uniform(0, 1);
  if (uniform(0, 1) < 0.3)
    peer.silences = uniform(0, 0.5);
  if (uniform(0, 1) < 0.3)
    peer.refusals = uniform(0, 0.5);
  if (uniform(0, 1) < 0.3)
    peer.dies_at_us = static_cast<uint64_t>(uniform(0, 200'000));
  peer.is_told = uniform(0, 1) < 0.5;
  return peer;
}

} // namespace

BOOST_AUTO_TEST_SUITE(mirror_fetch_test)

BOOST_AUTO_TEST_CASE(whatever_the_peers_do_all_is_fetched_as_long_as_one_is_honest) {
  for (uint64_t seed = 1; seed <= 300; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      uint32_t chunks = 1 + random() % 200;
      std::vector<simulated_peer> peers(random() % 5);
      for (auto& peer : peers)
        peer = random_peer(random, chunks);
      peers.push_back(with_all(chunks, std::pow(10, 1.0 - static_cast<double>(random() % 3))));
      auto options = quick();
      options.most_outstanding = 1 + random() % 6;
      options.most_attempts = 100; // here nothing may fail
      fetch_planner planner(on_paper(chunks), options);
      want_all(planner, chunks);
      simulation s(planner, options, std::move(peers), seed);
      s.run();
      BOOST_TEST(planner.done());
      BOOST_TEST(s.fetched.size() == chunks);
    }
}

BOOST_AUTO_TEST_CASE(a_model_arrives_whole_from_peers_of_whom_one_lies_and_one_dies) {
  scratch place;
  holder all(fixture());
  for (uint64_t seed = 1; seed <= 5; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      auto chunks = all.description.chunks();
      auto to = need(mirror::open(place.folder / std::to_string(seed), all.description));
      std::vector<simulated_peer> peers(3, with_all(chunks));
      peers[0].lies = 0.5;
      peers[1].dies_at_us = 5'000;
      fetch_planner planner(all.description, quick());
      want_all(planner, chunks);
      simulation s(planner, quick(), std::move(peers), seed);
      s.check = [&](uint32_t, chunk_id chunk, bool honest) {
        auto bytes = all.chunk(chunk);
        if (!honest)
          bytes[seed * 7 % bytes.size()] ^= std::byte{4};
        return to->store(chunk, bytes).ok();
      };
      s.run();
      BOOST_TEST(planner.done());
      BOOST_TEST(to->complete());
      BOOST_TEST(content_of(to->folder() / "model.gguf") == content_of(fixture()));
      BOOST_TEST(s.peers[1].delivered > 0u);
    }
}

BOOST_AUTO_TEST_CASE(peers_are_used_by_their_speed) {
  constexpr uint32_t chunks = 600;
  fetch_planner planner(on_paper(chunks), quick());
  want_all(planner, chunks);
  simulation s(planner, quick(), {with_all(chunks, 40), with_all(chunks, 20), with_all(chunks, 2)},
               1);
  for (auto& peer : s.peers)
    peer.latency_us = 0;
  s.run();
  BOOST_TEST(planner.done());
  BOOST_TEST(s.peers[0].delivered > s.peers[1].delivered * 3 / 2);
  BOOST_TEST(s.peers[1].delivered > s.peers[2].delivered * 4);
  BOOST_TEST(s.peers[2].delivered > 5u);
  BOOST_TEST(planner.bytes_per_us(peer_id{0}) > 30);
  BOOST_TEST(planner.bytes_per_us(peer_id{2}) < 3);
}

BOOST_AUTO_TEST_CASE(the_last_chunks_are_not_left_to_a_slow_peer) {
  constexpr uint32_t chunks = 400;
  fetch_planner planner(on_paper(chunks), quick());
  want_all(planner, chunks);
  simulation s(planner, quick(), {with_all(chunks, 100), with_all(chunks, 1)}, 1);
  s.run();
  // As soon as both are measured, the end is where both would end.
  BOOST_TEST(planner.done());
  BOOST_TEST(s.peers[1].busy_until_us < 2 * s.peers[0].busy_until_us + 4 * chunk_bytes);
}

BOOST_AUTO_TEST_CASE(priorities_come_first_then_what_is_rare) {
  fetch_options options;
  options.most_outstanding = 8;
  fetch_planner planner(on_paper(8), options);
  want_all(planner, 8);
  planner.want(chunk_id{6}, 0);
  for (uint32_t i : {0u, 1u, 2u, 3u})
    planner.want(chunk_id{i}, 5);
  chunk_set some = chunk_set::all(8);
  some.remove(chunk_id{7});
  some.remove(chunk_id{1});
  planner.peer_has(peer_id{1}, chunk_set::all(8));
  planner.peer_has(peer_id{2}, some);
  std::vector<uint32_t> order;
  for (const auto& r : planner.plan(0))
    order.push_back(index(r.chunk));
  BOOST_TEST(order == (std::vector<uint32_t>{7, 4, 5, 6, 1, 0, 2, 3}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_late_request_goes_to_another_peer_and_the_late_answer_still_counts) {
  fetch_planner planner(on_paper(2), quick());
  planner.want(chunk_id{0}, 0);
  planner.peer_has(peer_id{1}, chunk_set::all(2));
  auto first = planner.plan(0);
  BOOST_REQUIRE(first.size() == 1u);
  planner.peer_has(peer_id{2}, chunk_set::all(2));
  BOOST_TEST(planner.plan(first[0].deadline_us - 1).empty());
  BOOST_TEST(planner.next_time_us(0) == first[0].deadline_us);
  auto second = planner.plan(first[0].deadline_us);
  BOOST_REQUIRE(second.size() == 1u);
  BOOST_CHECK(second[0].peer == peer_id{2});
  planner.arrived(peer_id{1}, chunk_id{0}, first[0].deadline_us + 1);
  BOOST_TEST(planner.done());
  planner.want(chunk_id{1}, 0);
  BOOST_TEST(planner.plan(first[0].deadline_us + 2).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_silent_peer_is_asked_ever_more_rarely_until_the_chunk_has_failed) {
  auto options = quick();
  options.most_attempts = 4;
  fetch_planner planner(on_paper(1), options);
  planner.want(chunk_id{0}, 0);
  planner.peer_has(peer_id{1}, chunk_set::all(1));
  uint64_t now = 0, pause = 0;
  for (uint32_t attempt = 0; attempt < 4; ++attempt) {
    auto asked = planner.plan(now);
    BOOST_REQUIRE(asked.size() == 1u);
    now = asked[0].deadline_us;
    BOOST_TEST(planner.plan(now).empty());
    if (attempt == 3)
      break;
    auto again = planner.next_time_us(now);
    BOOST_TEST(again - now > pause);
    pause = again - now;
    now = again;
  }
  BOOST_TEST(!planner.done());
  BOOST_TEST(planner.failed().contains(chunk_id{0}));
  BOOST_TEST(planner.next_time_us(now) == UINT64_MAX);
  planner.want(chunk_id{0}, 0);
  BOOST_TEST(planner.failed().empty());
  BOOST_TEST(planner.plan(now + options.most_pause_us).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_liar_is_left_alone_for_a_while_and_never_asked_for_that_chunk_again) {
  auto options = quick();
  fetch_planner planner(on_paper(2), options);
  want_all(planner, 2);
  planner.peer_has(peer_id{1}, chunk_set::all(2));
  BOOST_TEST(planner.plan(0).size() == 2u);
  planner.lied(peer_id{1}, chunk_id{0}, 10);
  BOOST_TEST(planner.plan(10).empty());
  BOOST_TEST(planner.progress(10).without_peer == 2u);
  planner.peer_gone(peer_id{1});
  planner.peer_has(peer_id{1}, chunk_set::all(2)); // coming back does not help
  BOOST_TEST(planner.plan(11).empty());
  BOOST_TEST(planner.next_time_us(11) == 10 + options.distrust_us);
  auto later = planner.plan(10 + options.distrust_us);
  BOOST_REQUIRE(later.size() == 1u);
  BOOST_CHECK(later[0].chunk == chunk_id{1});
}

BOOST_AUTO_TEST_CASE(wrong_bytes_that_nobody_asked_for_use_up_no_attempts) {
  auto options = quick();
  options.most_attempts = 1;
  fetch_planner planner(on_paper(1), options);
  planner.want(chunk_id{0}, 0);
  planner.peer_has(peer_id{1}, chunk_set::all(1));
  planner.peer_has(peer_id{2}, chunk_set::all(1));
  auto asked = planner.plan(0);
  BOOST_REQUIRE(asked.size() == 1u);
  auto other = asked[0].peer == peer_id{1} ? peer_id{2} : peer_id{1};
  planner.lied(other, chunk_id{0}, 1);
  planner.lied(peer_id{9}, chunk_id{0}, 1);
  planner.lied(other, chunk_id{77}, 1);
  BOOST_TEST(planner.failed().empty());
  planner.lied(asked[0].peer, chunk_id{0}, 2);
  BOOST_TEST(planner.failed().size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_nobody_has_waits_for_a_peer) {
  fetch_planner planner(on_paper(3), quick());
  want_all(planner, 3);
  BOOST_TEST(planner.plan(0).empty());
  BOOST_TEST(planner.progress(0).without_peer == 3u);
  BOOST_TEST(planner.progress(0).wanted_bytes == 3u * chunk_bytes);
  BOOST_TEST(planner.next_time_us(0) == UINT64_MAX);
  chunk_set one(3);
  one.add(chunk_id{1});
  planner.peer_has(peer_id{4}, one);
  auto asked = planner.plan(1);
  BOOST_REQUIRE(asked.size() == 1u);
  BOOST_CHECK(asked[0].chunk == chunk_id{1});
  BOOST_TEST(planner.progress(1).outstanding == 1u);
  planner.refused(peer_id{4}, chunk_id{1}, 2);
  BOOST_TEST(planner.plan(3).empty());
  planner.drop(chunk_id{0}), planner.drop(chunk_id{1}), planner.drop(chunk_id{2});
  BOOST_TEST(planner.done());
}

BOOST_AUTO_TEST_CASE(what_a_gone_peer_was_asked_is_asked_of_others_at_once) {
  fetch_planner planner(on_paper(4), quick());
  want_all(planner, 4);
  planner.peer_has(peer_id{1}, chunk_set::all(4));
  BOOST_TEST(planner.plan(0).size() == 4u);
  planner.peer_has(peer_id{2}, chunk_set::all(4));
  BOOST_TEST(planner.plan(1).empty());
  planner.peer_gone(peer_id{1});
  auto again = planner.plan(1);
  BOOST_REQUIRE(again.size() == 4u);
  BOOST_CHECK(again[0].peer == peer_id{2});
}

BOOST_AUTO_TEST_SUITE_END()
