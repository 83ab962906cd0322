// Steps towards a plan: nothing is lost, nothing is moved that need not be.
#include "policy/expert_moves.hpp"
#include "policy/expert_room.hpp"
#include "policy/record_news.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

using experts = std::vector<size_t>;

bitmap bits(const std::string& text) {
  bitmap out(text.size());
  for (size_t i = 0; i < text.size(); ++i)
    out.set(i, text[i] == '#');
  return out;
}

bitmap random_bits(std::mt19937& random, size_t n) {
  bitmap out(n);
  for (size_t i = 0; i < n; ++i)
    out.set(i, random() % 2);
  return out;
}

const expert_test always = [](size_t) { return true; };
const expert_test never = [](size_t) { return false; };

} // namespace

BOOST_AUTO_TEST_SUITE(expert_moves)

BOOST_AUTO_TEST_CASE(by_popularity_keeps_the_order_of_equals) {
  const std::vector<double> popularity{2, 5, 2, 5};
  BOOST_TEST((by_popularity({0, 1, 2, 3, 9}, popularity, false) == experts{1, 3, 0, 2, 9}));
  BOOST_TEST((by_popularity({0, 1, 2, 3, 9}, popularity, true) == experts{9, 0, 2, 1, 3}));
  BOOST_TEST((by_popularity({3, 1}, {}, true) == experts{3, 1}));
}

BOOST_AUTO_TEST_CASE(wanted_is_what_the_plan_lacks) {
  BOOST_TEST((wanted(bits("###."), bits("#..#"), {}) == experts{1, 2}));
  BOOST_TEST((wanted(bits("###."), bits("#..#"), {2}) == experts{1}));
  BOOST_TEST(wanted(bits("..."), bits("###"), {}).empty());
}

BOOST_AUTO_TEST_CASE(what_is_on_disk_comes_first_then_what_nobody_holds_then_what_is_used_most) {
  const std::vector<double> popularity{1, 8, 2, 7, 3, 6, 4, 5};
  auto on_disk = [](size_t i) { return i < 4; };
  auto held = [](size_t i) { return i % 2 == 1; };
  BOOST_TEST((in_order_of_need({0, 1, 2, 3, 4, 5, 6, 7}, popularity, on_disk, held) ==
              experts{2, 0, 1, 3, 6, 4, 5, 7}));
  BOOST_TEST((in_order_of_need({0, 1, 2}, popularity, always, never) == experts{1, 2, 0}));
}

BOOST_AUTO_TEST_CASE(the_least_used_retire_and_no_more_than_must) {
  const auto holds = bits("######"), plan = bits("##...."), none = bits("......");
  const std::vector<double> popularity{9, 9, 3, 1, 2, 4};
  auto retired = [&](uint64_t room, uint64_t coming, const bitmap& retiring) {
    return to_retire({holds, plan, retiring, popularity, room, coming}, always);
  };
  BOOST_TEST((retired(6, 0, none).empty()));
  BOOST_TEST((retired(6, 2, none) == experts{3, 4}));
  BOOST_TEST((retired(6, 2, bits("...#..")) == experts{4}));
  BOOST_TEST((retired(1, 9, none) == experts{3, 4, 2, 5})); // never what the plan has
}

BOOST_AUTO_TEST_CASE(nothing_retires_that_nobody_else_keeps) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    size_t n = 1 + random() % 60;
    auto holds = random_bits(random, n), plan = random_bits(random, n),
         kept = random_bits(random, n);
    bitmap retiring(n);
    for (size_t i = 0; i < n; ++i)
      retiring.set(i, holds.test(i) && !plan.test(i) && random() % 4 == 0);
    std::vector<double> popularity(n);
    for (auto& p : popularity)
      p = random() % 5;
    uint64_t room = random() % (n + 1), coming = random() % 9;
    auto gone = to_retire({holds, plan, retiring, popularity, room, coming},
                          [&](size_t i) { return kept.test(i); });
    auto kept_here = holds.count() - retiring.count() + coming;
    BOOST_TEST(gone.size() <= (kept_here > room ? kept_here - room : 0), "seed " << seed);
    for (size_t i : gone)
      BOOST_TEST((holds.test(i) && !plan.test(i) && !retiring.test(i) && kept.test(i)),
                 "seed " << seed);
    BOOST_TEST(std::is_sorted(gone.begin(), gone.end(),
                              [&](size_t a, size_t b) { return popularity[a] < popularity[b]; }));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(expert_rooms)

BOOST_AUTO_TEST_CASE(a_little_memory_stays_for_moves) {
  BOOST_TEST(room_in(500, 10).space == 50u);
  BOOST_TEST(room_in(500, 10).room == 49u);
  BOOST_TEST(room_in(64 * 640, 64).room == 630u);
  for (uint64_t bytes : {0, 9, 10, 39}) { // all of it is for the plan
    BOOST_TEST(room_in(bytes, 10).space == bytes / 10);
    BOOST_TEST(room_in(bytes, 10).room == bytes / 10);
  }
}

BOOST_AUTO_TEST_CASE(an_expert_lies_in_one_of_two_memories) {
  BOOST_TEST(room_with_card(100, 0, 10) == 100u);
  BOOST_TEST(room_with_card(106, 56, 10) == 156u);
  // what is left of both together is no room
  for (uint64_t ram : {0, 7, 10, 19, 106})
    for (uint64_t card : {0, 3, 10, 19, 58})
      BOOST_TEST(room_in(room_with_card(ram, card, 10), 10).space == ram / 10 + card / 10);
}

BOOST_AUTO_TEST_CASE(memory_is_divided_by_size) {
  auto parts = divide_memory(std::vector<node_memory>{{8000, {true, true}}},
                             std::vector<room_demand>{{10, 100}, {30, 100}});
  BOOST_TEST(parts == (std::vector<std::vector<uint64_t>>{{2000, 6000}}));
  BOOST_TEST(divide_memory({}, {}).empty());
}

BOOST_AUTO_TEST_CASE(a_model_that_few_nodes_run_gets_what_it_needs_there) {
  // by size each would have 1500 on the first node, and the second model only there
  const std::vector<room_demand> models{{10, 200}, {10, 200}};
  const std::vector<node_memory> nodes{{3000, {true, true}}, {3000, {true, false}}};
  auto parts = divide_memory(nodes, models);
  BOOST_TEST(parts[0][1] >= 2000u);
  BOOST_TEST(parts[0][0] + parts[0][1] <= 3000u);
  BOOST_TEST(parts[1] == (std::vector<uint64_t>{3000, 0}));
}

BOOST_AUTO_TEST_CASE(what_cannot_all_be_covered_serves_the_small_ones) {
  auto parts = divide_memory(std::vector<node_memory>{{3000, {true, true}}},
                             std::vector<room_demand>{{10, 400}, {10, 100}});
  BOOST_TEST(parts[0][1] >= 1000u);
  BOOST_TEST(parts[0][0] <= 2000u);
}

struct divided_case {
  std::vector<node_memory> nodes;
  std::vector<room_demand> models;
};

/// Every model was laid whole onto nodes with some air, so all can be covered.
divided_case coverable(std::mt19937& random) {
  divided_case out;
  out.models.resize(1 + random() % 4);
  for (auto& m : out.models)
    m = {1 + random() % 50, 20 + random() % 500};
  out.nodes.resize(1 + random() % 6);
  for (auto& n : out.nodes)
    n.runs.assign(out.models.size(), false);
  for (size_t i = 0; i < out.models.size(); ++i) {
    const auto& m = out.models[i];
    uint64_t parts = 1 + random() % out.nodes.size(), bytes = m.expert_bytes * m.experts;
    for (uint64_t p = 0; p < parts; ++p) {
      auto& n = out.nodes[(i + p) % out.nodes.size()];
      n.runs[i] = true;
      n.bytes += bytes / parts + bytes / 50 + 2 * m.expert_bytes + 8;
    }
  }
  return out;
}

uint64_t whole_experts(const divided_case& c, const std::vector<std::vector<uint64_t>>& parts,
                       size_t model) {
  uint64_t held = 0;
  for (const auto& of_node : parts)
    held += std::min(c.models[model].experts,
                     room_in(of_node[model], c.models[model].expert_bytes).room);
  return held;
}

BOOST_AUTO_TEST_CASE(all_models_are_covered_where_they_can_be) {
  for (uint32_t seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    auto c = coverable(random);
    auto parts = divide_memory(c.nodes, c.models);
    for (size_t m = 0; m < c.models.size(); ++m)
      BOOST_TEST(whole_experts(c, parts, m) >= c.models[m].experts - c.nodes.size(),
                 "seed " << seed << ", model " << m);
  }
}

BOOST_AUTO_TEST_CASE(parts_never_exceed_what_a_node_has) {
  for (uint32_t seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    divided_case c;
    c.models.resize(1 + random() % 5);
    for (auto& m : c.models)
      m = {1 + random() % 1000, 1 + random() % 500};
    c.nodes.resize(1 + random() % 6);
    for (auto& n : c.nodes) {
      n.bytes = random() % 1'000'000;
      for (size_t m = 0; m < c.models.size(); ++m)
        n.runs.push_back(random() % 2);
    }
    auto parts = divide_memory(c.nodes, c.models);
    for (size_t n = 0; n < c.nodes.size(); ++n) {
      uint64_t used = 0;
      for (size_t m = 0; m < c.models.size(); ++m) {
        used += parts[n][m];
        BOOST_TEST((c.nodes[n].runs[m] || parts[n][m] == 0u), "seed " << seed);
      }
      BOOST_TEST(used <= c.nodes[n].bytes, "seed " << seed);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(record_news)

namespace {

node_record record() {
  node_record r;
  r.ram_used_bytes = 100;
  r.models.resize(1);
  auto& m = r.models[0];
  m.speed = {100, 10};
  m.holds = bits("#..");
  m.chunks = bits("##..");
  m.popularity = {1, 2, 3};
  m.dense = {50, 2, 700};
  r.neighbours = {{"b", 1000, 100'000'000}};
  return r;
}

template <class Change>
bool news(Change change, bool chunks_too = true) {
  auto now = record();
  change(now);
  return says_more(now, record(), chunks_too);
}

} // namespace

BOOST_AUTO_TEST_CASE(what_plans_are_made_from_is_told) {
  BOOST_TEST(news([](auto& r) { r.draining = true; }));
  BOOST_TEST(news([](auto& r) { r.models.emplace_back(); }));
  BOOST_TEST(news([](auto& r) { r.models[0].holds.set(1); }));
  BOOST_TEST(news([](auto& r) { r.models[0].home = true; }));
  BOOST_TEST(news([](auto& r) { r.models[0].capacity_bytes = 7; }));
  BOOST_TEST(news([](auto& r) { r.models[0].popularity[0] = 9; }));
  BOOST_TEST(news([](auto& r) { r.models[0].speed.expert_us = 130; }));
  BOOST_TEST(news([](auto& r) { r.models[0].speed.row_us = 7; }));
  BOOST_TEST(news([](auto& r) { r.models[0].dense.layer_us = 70; }));
  BOOST_TEST(news([](auto& r) { r.models[0].plan.epoch = 1; }));
  BOOST_TEST(news([](auto& r) { r.models[0].tokens_per_s = 8; }));
  BOOST_TEST(news([](auto& r) { r.neighbours[0].round_trip_us = 3000; }));
  BOOST_TEST(news([](auto& r) { r.neighbours.clear(); }));
}

BOOST_AUTO_TEST_CASE(small_swings_are_not) {
  BOOST_TEST(!news([](auto&) {}));
  BOOST_TEST(!news([](auto& r) { r.models[0].speed = {110, 9}; }));
  BOOST_TEST(!news([](auto& r) { r.ram_used_bytes = 90; }));
  BOOST_TEST(!news([](auto& r) { r.version = 8; }));
  BOOST_TEST(!news([](auto& r) { r.models[0].dense = {55, 9, 650}; }));
  BOOST_TEST(!news([](auto& r) { r.neighbours[0] = {"b", 1150, 50'000'000}; }));
}

BOOST_AUTO_TEST_CASE(chunks_wait_for_their_turn_unless_they_were_the_last) {
  auto one_more = [](auto& r) { r.models[0].chunks.set(2); };
  BOOST_TEST(news(one_more));
  BOOST_TEST(!news(one_more, false));
  BOOST_TEST(news([&](auto& r) { one_more(r), r.models[0].complete = true; }, false));
}

BOOST_AUTO_TEST_SUITE_END()
