// Which experts lie in the fast memory: budgets, convergence to what is worth most, steadiness.
#include "policy/near_residency.hpp"

#include <boost/test/unit_test.hpp>

#include <numeric>
#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

expert_key key(uint32_t layer, uint32_t expert) {
  return {static_cast<layer_id>(layer), static_cast<expert_id>(expert)};
}

bool anyone(size_t) {
  return true;
}

struct instance {
  cache_shape shape;
  std::vector<uint64_t> bytes, rows;
  uint64_t room = 0;
};

instance random_instance(std::mt19937& rng) {
  instance i;
  i.shape = {1 + static_cast<uint32_t>(rng() % 5), 2 + static_cast<uint32_t>(rng() % 9)};
  uint64_t sum = 0;
  for (size_t s = 0; s < i.shape.slots(); ++s) {
    i.bytes.push_back(80 + rng() % 40);
    i.rows.push_back(rng() % 3 ? rng() % 100 : 0);
    sum += i.bytes.back();
  }
  i.room = rng() % (sum + sum / 4 + 1);
  return i;
}

/// Does as it is told until nothing is left to do; how many moves that took.
size_t settle(near_residency& r, uint64_t room, const near_residency::test& may = anyone) {
  size_t moves = 0;
  for (int idle = 0; idle < 40;) {
    auto next = r.next(room, may);
    idle = next.empty() ? idle + 1 : 0;
    for (const auto& m : next)
      r.moved(m, true);
    moves += next.size();
    if (moves > 10'000)
      return moves;
  }
  return moves;
}

double value_there(const near_residency& r, cache_shape shape) {
  double sum = 0;
  for (uint32_t l = 0; l < shape.layers; ++l)
    for (uint32_t e = 0; e < shape.experts; ++e)
      sum += r.is_near(key(l, e)) ? r.value(key(l, e)) : 0;
  return sum;
}

/// What fractions of experts could be worth at the most: a bound of any choice.
double best_value(const near_residency& r, const instance& i) {
  std::vector<std::pair<double, uint64_t>> all;
  for (uint32_t l = 0; l < i.shape.layers; ++l)
    for (uint32_t e = 0; e < i.shape.experts; ++e)
      all.push_back({r.value(key(l, e)), i.bytes[i.shape.slot(key(l, e))]});
  std::sort(all.begin(), all.end(), [](auto a, auto b) {
    return a.first * static_cast<double>(b.second) > b.first * static_cast<double>(a.second);
  });
  double sum = 0, left = static_cast<double>(i.room);
  for (auto [v, b] : all) {
    double part = std::min(1.0, left / static_cast<double>(b));
    sum += part * v;
    left -= part * static_cast<double>(b);
  }
  return sum;
}

} // namespace

BOOST_AUTO_TEST_SUITE(near_residency_policy)

BOOST_AUTO_TEST_CASE(the_budget_is_kept_whatever_is_answered_and_moves_end) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 rng(seed);
      auto i = random_instance(rng);
      near_residency r(i.shape, i.bytes);
      for (int turn = 0; turn < 60; ++turn) {
        for (auto& n : i.rows)
          n = rng() % 4 ? n : rng() % 100;
        r.used(i.rows, 64);
        auto moves = r.next(i.room, anyone);
        BOOST_TEST(moves.size() <= i.shape.slots());
        uint64_t coming = 0;
        for (const auto& m : moves) {
          BOOST_TEST(r.is_near(m.key) == !m.come);
          coming += m.come ? i.bytes[i.shape.slot(m.key)] : 0;
        }
        BOOST_TEST(r.near_bytes() + coming <= i.room);
        BOOST_TEST(r.next(i.room, anyone).empty() == true); // until all are answered
        std::shuffle(moves.begin(), moves.end(), rng);
        for (const auto& m : moves)
          r.moved(m, rng() % 5 != 0);
        BOOST_TEST(r.near_bytes() <= i.room);
      }
      BOOST_TEST(settle(r, i.room) < 200u);
    }
}

BOOST_AUTO_TEST_CASE(what_stays_is_worth_nearly_the_most_that_fits) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 rng(seed);
      auto i = random_instance(rng);
      residency_limits limits;
      near_residency r(i.shape, i.bytes, limits);
      settle(r, i.room); // full of what is worth nothing
      r.used(i.rows, 100);
      r.used(i.rows, 100'000);
      settle(r, i.room);
      // The greedy rule loses one item, the margin the share that an exchange must gain.
      double most = best_value(r, i), largest = 0;
      for (auto n : i.rows)
        largest = std::max(largest, static_cast<double>(n) / 100'000);
      largest = std::max(largest, 1.0);
      BOOST_TEST(value_there(r, i.shape) * limits.margin + largest +
                     limits.least_gain * static_cast<double>(i.shape.slots()) >=
                 most);
    }
}

BOOST_AUTO_TEST_CASE(the_same_history_gives_the_same_moves) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 a(seed), b(seed);
    auto i = random_instance(a), j = random_instance(b);
    near_residency x(i.shape, i.bytes), y(j.shape, j.bytes);
    for (int turn = 0; turn < 30; ++turn) {
      x.used(i.rows, 10);
      y.used(j.rows, 10);
      auto mine = x.next(i.room, anyone), yours = y.next(j.room, anyone);
      BOOST_REQUIRE(mine == yours);
      for (const auto& m : mine) {
        x.moved(m, true);
        y.moved(m, true);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(nothing_known_fills_whole_layers) {
  near_residency r({4, 6}, std::vector<uint64_t>(24, 10));
  settle(r, 125);
  for (uint32_t slot = 0; slot < 24; ++slot)
    BOOST_TEST(r.is_near(key(slot / 6, slot % 6)) == (slot < 12));
}

BOOST_AUTO_TEST_CASE(what_is_used_comes_and_noise_moves_nothing) {
  near_residency r({1, 8}, std::vector<uint64_t>(8, 10));
  settle(r, 40);
  std::vector<uint64_t> rows{1, 1, 1, 1, 50, 50, 50, 50};
  for (int turn = 0; turn < 50; ++turn)
    r.used(rows, 100);
  settle(r, 40);
  for (uint32_t e = 0; e < 8; ++e)
    BOOST_TEST(r.is_near(key(0, e)) == (e >= 4));
  // now all about equal, by turns a little more and less
  std::mt19937 rng(3);
  size_t moves = 0;
  for (int turn = 0; turn < 400; ++turn) {
    for (auto& n : rows)
      n = 45 + rng() % 11;
    r.used(rows, 100);
    for (const auto& m : r.next(40, anyone)) {
      r.moved(m, true);
      ++moves;
    }
  }
  BOOST_TEST(moves == 0u);
}

BOOST_AUTO_TEST_CASE(only_those_that_may_come_do_and_what_is_lost_may_come_back) {
  near_residency r({1, 4}, std::vector<uint64_t>(4, 10));
  settle(r, 40, [](size_t slot) { return slot % 2 == 1; });
  BOOST_TEST((!r.is_near(key(0, 0)) && r.is_near(key(0, 1)) && !r.is_near(key(0, 2))));
  r.lost(key(0, 1));
  BOOST_TEST(r.near_bytes() == 10u);
  settle(r, 40);
  BOOST_TEST(r.near_bytes() == 40u);
}

BOOST_AUTO_TEST_CASE(what_came_by_itself_is_known_and_takes_its_room) {
  near_residency r({1, 4}, std::vector<uint64_t>(4, 10));
  r.came(key(0, 3), 12);
  BOOST_TEST(r.is_near(key(0, 3)));
  BOOST_TEST(r.near_bytes() == 12u);
  settle(r, 40); // of the others, two fit beside it
  BOOST_TEST(r.near_bytes() == 32u);
  BOOST_TEST(r.is_near(key(0, 3)));
}

BOOST_AUTO_TEST_CASE(a_refusal_is_not_repeated_at_once) {
  near_residency r({1, 4}, std::vector<uint64_t>(4, 10));
  auto first = r.next(40, anyone);
  BOOST_REQUIRE(!first.empty());
  for (const auto& m : first)
    r.moved(m, false);
  BOOST_TEST(r.next(40, anyone).empty());
  size_t turns = 0;
  while (r.next(40, anyone).empty() && turns < 100)
    ++turns;
  BOOST_TEST(turns > 5u);
  BOOST_TEST(turns < 100u);
}

BOOST_AUTO_TEST_SUITE_END()
