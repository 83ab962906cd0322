#include "policy/foresight.hpp"

#include <boost/test/unit_test.hpp>

#include <set>

using namespace coel;
using namespace coel::policy;
using state = expert_supply::state;

namespace {

constexpr cache_shape shape{4, 8};

expert_key key(uint32_t l, uint32_t e) {
  return {static_cast<layer_id>(l), static_cast<expert_id>(e)};
}

struct memory {
  std::set<expert_key> here;
  foresight::state_of is() const {
    return [this](expert_key k) { return here.count(k) ? state::resident : state::absent; };
  }
};

std::vector<float> likely(std::initializer_list<std::pair<uint32_t, float>> experts) {
  std::vector<float> p(shape.experts, 0.01f);
  for (auto [e, x] : experts)
    p[e] = x;
  return p;
}

const std::vector<expert_use> uses_of_2{{expert_id{2}, 1}};
constexpr double read_us = 4000;

} // namespace

BOOST_AUTO_TEST_SUITE(foresight_of_experts)

BOOST_AUTO_TEST_CASE(the_likeliest_come_first_and_the_unlikely_not_at_all) {
  foresight f(shape);
  memory m;
  auto got = f.consider(layer_id{1}, 1, likely({{2, 0.7f}, {5, 0.9f}}), m.is(), 0, 0);
  BOOST_REQUIRE_EQUAL(got.size(), 2u);
  BOOST_TEST((got[0].key == key(1, 5)));
  BOOST_TEST((got[1].key == key(1, 2)));
  BOOST_TEST(f.consider(layer_id{1}, 1, likely({{2, 0.7f}, {5, 0.9f}}), m.is(), 0, 0).empty());
}

BOOST_AUTO_TEST_CASE(a_busy_disk_asks_for_more_certainty) {
  foresight idle(shape), busy(shape);
  memory m;
  auto p = likely({{2, 0.4f}});
  BOOST_TEST(idle.consider(layer_id{1}, 1, p, m.is(), 0, 0).size() == 1u);
  BOOST_TEST(busy.consider(layer_id{1}, 1, p, m.is(), 0, 1).empty());
}

BOOST_AUTO_TEST_CASE(what_is_here_is_kept_even_where_reading_ahead_is_off) {
  foresight f(shape);
  memory m{{key(1, 3)}};
  for (uint32_t turn = 0; f.on(layer_id{1}) && turn < 1000; ++turn) { // guesses that all fail
    f.consider(layer_id{1}, 1, likely({{5, 0.9f}}), m.is(), 0, 0);
    m.here.insert(key(1, 5));
    f.turn(layer_id{1}, uses_of_2, m.is(), 0, read_us);
    m.here.erase(key(1, 5));
  }
  BOOST_REQUIRE(!f.on(layer_id{1}));
  BOOST_TEST(f.on(layer_id{2}));
  BOOST_TEST(f.saved_us() < 0);
  auto got = f.consider(layer_id{1}, 1, likely({{3, 0.9f}, {5, 0.9f}}), m.is(), 0, 0);
  BOOST_REQUIRE_EQUAL(got.size(), 1u);
  BOOST_TEST((got[0].key == key(1, 3)));
}

BOOST_AUTO_TEST_CASE(it_is_switched_on_again_by_guesses_that_would_have_been_right) {
  foresight f(shape);
  memory m;
  auto turn = [&](uint32_t guess) {
    f.consider(layer_id{1}, 1, likely({{guess, 0.9f}}), m.is(), 0, 0);
    if (f.on(layer_id{1}))
      m.here.insert(key(1, guess));
    f.turn(layer_id{1}, uses_of_2, m.is(), 0, read_us);
    m.here.clear();
  };
  for (uint32_t i = 0; f.on(layer_id{1}) && i < 1000; ++i)
    turn(5);
  BOOST_REQUIRE(!f.on(layer_id{1}));
  for (uint32_t i = 0; !f.on(layer_id{1}) && i < 1000; ++i)
    turn(2);
  BOOST_TEST(f.on(layer_id{1}));
}

BOOST_AUTO_TEST_CASE(what_found_no_room_is_not_judged) {
  foresight f(shape);
  memory m;
  for (uint32_t i = 0; i < 1000; ++i) {
    f.consider(layer_id{1}, 1, likely({{5, 0.9f}}), m.is(), 0, 0);
    f.turn(layer_id{1}, uses_of_2, m.is(), 0, read_us);
  }
  BOOST_TEST(f.on(layer_id{1}));
  BOOST_TEST(f.saved_us() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
