// Two homes never count on the same bytes, over a network that drops, delays, doubles and reorders.
#include "policy/reservation.hpp"

#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <random>
#include <set>

using namespace coel::policy;
using namespace std::chrono_literals;

namespace {

using state = region_reservation::state;

class storm {
 public:
  storm(uint64_t seed, uint32_t homes, uint32_t helpers, double loss)
      : random_(seed), loss_(loss), homes_(homes) {
    for (uint32_t s = 0; s < helpers; ++s)
      books_.emplace("helper-" + std::to_string(s), reservation_book(100));
  }

  void run(moment until) {
    for (; now_ < until; now_ += 20ms) {
      deliver();
      for (uint32_t h = 0; h < homes_.size(); ++h)
        act(h);
      check();
    }
  }

  void be_quiet() { loss_ = 0; }
  bool anybody_holds() const {
    for (const auto& h : homes_)
      if (h.attempt && h.attempt->now_in() == state::held)
        return true;
    return false;
  }
  uint32_t held() const { return held_; }
  std::map<std::string, reservation_book>& books() { return books_; }
  void silence(uint32_t home) { homes_[home].silent = true; }

 private:
  struct home_side {
    std::unique_ptr<region_reservation> attempt;
    uint64_t attempts = 0;
    moment until{0}; ///< when it lets go, or tries again
    uint64_t bytes = 0;
    bool silent = false;
    bool counted = false;
  };
  struct letter {
    std::string from, to;
    reservation_message message;
  };

  bool chance(double p) { return static_cast<double>(random_() >> 11) * 0x1p-53 < p; }
  void send(const std::string& from, const std::string& to, const reservation_message& m) {
    for (int copies = chance(0.1) ? 2 : 1; copies; --copies)
      if (!chance(loss_)) { // up to 6 s late: after an offer is over
        auto delay = chance(0.05) ? random_() % 6'000'000 : random_() % 150'000;
        under_way_.emplace(now_ + moment(static_cast<int64_t>(delay)), letter{from, to, m});
      }
  }
  void send_all(uint32_t h, const std::vector<region_reservation::letter>& letters) {
    for (const auto& l : letters)
      send(std::to_string(h), l.to, l.message);
  }

  void deliver() {
    while (!under_way_.empty() && under_way_.begin()->first <= now_) {
      auto l = under_way_.begin()->second;
      under_way_.erase(under_way_.begin());
      if (auto book = books_.find(l.to); book != books_.end()) {
        send(l.to, l.from, book->second.hear(l.message, now_));
      } else {
        auto h = static_cast<uint32_t>(std::stoul(l.to));
        if (homes_[h].attempt && !homes_[h].silent)
          send_all(h, homes_[h].attempt->hear(l.from, l.message, now_));
      }
    }
  }

  void begin(uint32_t h) {
    auto& home = homes_[h];
    home.bytes = 40 + random_() % 50;
    std::vector<region_reservation::part> parts;
    for (const auto& [name, book] : books_)
      if (chance(0.7))
        parts.push_back({name, home.bytes});
    if (parts.empty())
      return;
    home.attempt =
        std::make_unique<region_reservation>(reservation_id{std::to_string(h), ++home.attempts},
                                             parts, 1 + static_cast<double>(home.attempts), now_);
    home.counted = false;
  }

  void act(uint32_t h) {
    auto& home = homes_[h];
    if (home.silent)
      return;
    if (!home.attempt) {
      if (now_ >= home.until)
        begin(h);
      return;
    }
    send_all(h, home.attempt->advance(now_));
    auto in = home.attempt->now_in();
    if (in == state::held && !home.counted) {
      home.counted = true;
      ++held_;
      home.until = now_ + moment(static_cast<int64_t>(random_() % 60'000'000));
    }
    if ((in == state::held && now_ >= home.until) || in == state::broken)
      send_all(h, home.attempt->release(now_));
    if (in == state::failed || in == state::released) {
      home.until = now_ + moment(static_cast<int64_t>(random_() % 2'000'000));
      home.attempt.reset(); // what it had not given back by now runs out by itself
    }
  }

  /// What homes count on is really kept for them, and no helper gave more than it has.
  void check() {
    for (auto& [name, book] : books_) {
      book.expire(now_);
      BOOST_REQUIRE(book.taken() <= 100u);
    }
    for (const auto& h : homes_) {
      if (!h.attempt || h.attempt->now_in() != state::held || h.attempt->expires() <= now_)
        continue;
      for (const auto& [name, book] : books_)
        if (parts_of(*h.attempt).count(name))
          BOOST_REQUIRE(book.keeps(h.attempt->id()));
    }
  }
  std::set<std::string> parts_of(const region_reservation& r) const { return r.nodes(); }

  std::mt19937_64 random_;
  double loss_;
  std::vector<home_side> homes_;
  std::map<std::string, reservation_book> books_;
  std::multimap<moment, letter> under_way_;
  moment now_{0};
  uint32_t held_ = 0;
};

} // namespace

BOOST_AUTO_TEST_SUITE(reservations)

BOOST_AUTO_TEST_CASE(two_homes_never_count_on_the_same_bytes) {
  uint32_t held = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      storm s(seed, 2 + seed % 3, 3, 0.3);
      s.run(120s);
      held += s.held();
    }
  BOOST_TEST(held > 60u); // and in spite of the storm regions come about
}

BOOST_AUTO_TEST_CASE(somebody_gets_his_region_on_a_quiet_network) {
  for (uint64_t seed = 1; seed <= 40; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      storm s(seed, 3, 3, 0);
      s.run(30s);
      BOOST_TEST(s.held() > 0u);
    }
}

BOOST_AUTO_TEST_CASE(a_home_that_falls_silent_blocks_nobody_for_long) {
  storm s(7, 1, 3, 0);
  s.run(5s);
  BOOST_REQUIRE(s.anybody_holds());
  s.silence(0);
  s.run(45s);
  for (auto& [name, book] : s.books())
    BOOST_TEST(book.taken() == 0u);
}

BOOST_AUTO_TEST_CASE(a_late_offer_of_an_ended_attempt_is_refused) {
  using what = reservation_message::what;
  reservation_book book(100);
  reservation_id id{"home", 1};
  BOOST_TEST((book.hear({what::release, id, 0, 0, {}}, 0s).kind == what::released));
  BOOST_TEST((book.hear({what::offer, id, 10, 1, {}}, 1s).kind == what::reject));
  BOOST_TEST(book.taken() == 0u);
}

BOOST_AUTO_TEST_CASE(a_stronger_offer_displaces_what_is_not_confirmed) {
  using what = reservation_message::what;
  reservation_book book(100);
  reservation_id weak{"a", 1}, strong{"b", 1}, third{"c", 1};
  BOOST_TEST((book.hear({what::offer, weak, 80, 1, {}}, 0s).kind == what::accept));
  BOOST_TEST((book.hear({what::offer, third, 60, 1, {}}, 0s).kind == what::reject));
  BOOST_TEST((book.hear({what::offer, strong, 60, 2, {}}, 0s).kind == what::accept));
  BOOST_TEST((book.hear({what::confirm, weak, 80, 1, {}}, 0s).kind == what::gone));
  BOOST_TEST((book.hear({what::confirm, strong, 60, 2, {}}, 0s).kind == what::confirmed));
  BOOST_TEST((book.hear({what::offer, third, 60, 9, {}}, 0s).kind == what::reject));
  BOOST_TEST(book.confirmed() == 60u);
  book.expire(29s);
  BOOST_TEST(book.taken() == 60u);
  book.expire(31s);
  BOOST_TEST(book.taken() == 0u);
}

BOOST_AUTO_TEST_CASE(a_home_that_is_gone_blocks_nobody) {
  reservation_book book(100);
  using what = reservation_message::what;
  auto ask = [&](const char* home, uint64_t attempt, what kind) {
    return book.hear({kind, {home, attempt}, 60, 1, moment{1}}, moment{1}).kind;
  };
  BOOST_TEST((ask("a", 1, what::offer) == what::accept));
  BOOST_TEST((ask("a", 1, what::confirm) == what::confirmed));
  BOOST_TEST((ask("b", 1, what::offer) == what::reject));
  BOOST_TEST(book.by_home().at("a") == 60u);
  book.drop("a");
  BOOST_TEST((ask("b", 2, what::offer) == what::accept));
  BOOST_TEST((ask("a", 1, what::confirm) == what::gone));
  BOOST_TEST((ask("a", 1, what::offer) == what::reject)); // late
}

BOOST_AUTO_TEST_SUITE_END()
