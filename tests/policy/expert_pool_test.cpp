// Where memory together is too little, every home that can read keeps the same pool whoever works
// it out; where it is enough, nobody keeps any.
#include "policy/assignment.hpp"
#include "policy/expert_pool.hpp"
#include "policy/placement_candidates.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <numeric>
#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

struct instance {
  std::vector<pool_member> members;
  room_demand model;
  pool_rule rule;

  explicit instance(uint32_t seed) {
    std::mt19937 random(seed);
    model = {1 + random() % 1000, 4 + random() % 200};
    rule = {static_cast<double>(random() % 100) / 100, random() % 5 * model.expert_bytes,
            random() % 3 * model.expert_bytes / 2};
    auto nodes = 1 + random() % 6;
    for (uint32_t n = 0; n < nodes; ++n)
      members.push_back(
          {random() % (2 * model.expert_bytes * model.experts / nodes + 2), random() % 3 > 0});
  }
  uint64_t room() const {
    uint64_t sum = 0;
    for (const auto& m : members)
      sum += std::min(room_in(m.bytes, model.expert_bytes).room, model.experts);
    return sum;
  }
};

uint64_t sum(const std::vector<uint64_t>& of) {
  return std::accumulate(of.begin(), of.end(), uint64_t{0});
}

} // namespace

BOOST_AUTO_TEST_SUITE(expert_pools)

BOOST_AUTO_TEST_CASE(only_readers_keep_one_and_only_where_rooms_do_not_cover) {
  uint32_t some = 0, none = 0;
  for (uint32_t seed = 1; seed <= 3000; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      instance i(seed);
      auto pools = pools_of(i.members, i.model, i.rule);
      BOOST_REQUIRE_EQUAL(pools.size(), i.members.size());
      bool covered = i.room() >= i.model.experts;
      bool any = false;
      for (size_t n = 0; n < pools.size(); ++n) {
        const auto& m = i.members[n];
        BOOST_TEST((!pools[n] || pools[n] + i.rule.beside_bytes <= m.bytes));
        bool able = m.reads && m.bytes >= i.model.expert_bytes + i.rule.beside_bytes;
        BOOST_TEST((pools[n] > 0) == (able && !covered));
        if (pools[n]) // the largest expert always has a place
          BOOST_TEST(pools[n] >= i.model.expert_bytes);
        any |= able;
      }
      (sum(pools) ? some : none) += 1;
      BOOST_TEST((sum(pools) > 0) == (any && !covered));
    }
  BOOST_TEST(some > 300u); // else it has tried little
  BOOST_TEST(none > 300u);
}

BOOST_AUTO_TEST_CASE(the_order_of_members_does_not_matter) {
  for (uint32_t seed = 1; seed <= 500; ++seed) {
    instance i(seed), turned(seed);
    std::reverse(turned.members.begin(), turned.members.end());
    auto pools = pools_of(turned.members, i.model, i.rule);
    std::reverse(pools.begin(), pools.end());
    BOOST_TEST(pools == pools_of(i.members, i.model, i.rule), "seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(every_expert_has_memory_or_a_reader) {
  for (uint32_t seed = 1; seed <= 500; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      instance i(seed);
      auto pools = pools_of(i.members, i.model, i.rule);
      std::mt19937 random(seed);
      std::vector<double> use(i.model.experts);
      for (auto& u : use)
        u = random() % 50;
      std::vector<holder> holders, turned;
      uint64_t room = 0;
      for (size_t n = 0; n < pools.size(); ++n) {
        auto left = room_in(i.members[n].bytes - pools[n], i.model.expert_bytes).room;
        holders.push_back({"node" + std::to_string(n), left});
        room += std::min(left, i.model.experts);
      }
      turned.assign(holders.rbegin(), holders.rend());
      auto one = assign({1, static_cast<uint32_t>(i.model.experts), holders, use});
      auto other = assign({1, static_cast<uint32_t>(i.model.experts), turned, use});
      BOOST_TEST((one.uncovered == other.uncovered)); // all leave the same to the disks
      BOOST_TEST(one.uncovered.size() == i.model.experts - std::min(room, i.model.experts));
      if (!one.uncovered.empty() && sum(pools)) { // and these are used least
        double most = 0, least = 1e9;
        bitmap left(i.model.experts);
        for (auto key : one.uncovered)
          left.set(index(key.expert));
        for (size_t e = 0; e < use.size(); ++e)
          (left.test(e) ? most : least) =
              left.test(e) ? std::max(most, use[e]) : std::min(least, use[e]);
        BOOST_TEST(most <= least);
      }
    }
}

BOOST_AUTO_TEST_CASE(a_larger_pool_reads_less) {
  double before = 1;
  for (uint64_t pool : {0, 10, 30, 60, 100, 150}) {
    auto now = read_share(pool, 100);
    BOOST_TEST(now <= before);
    before = now;
  }
  BOOST_TEST(read_share(0, 100) == 1);
  BOOST_TEST(read_share(100, 100) == 0);
  BOOST_TEST(read_share(5, 0) == 0);
}

BOOST_AUTO_TEST_CASE(what_is_nobodys_is_what_is_used_least) {
  for (uint32_t seed = 1; seed <= 500; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      expert_map map(3, 4, 10);
      constexpr uint32_t slices = 2;
      std::vector<double> use(map.hosts.size());
      for (size_t i = 0; i < use.size(); ++i) {
        use[i] = random() % 100;
        map.hosts[i] = random() % 3 ? only(random() % 3) : 0;
        if (random() % 9 == 0)
          map.hosts[i] |= only(random() % 3);
      }
      std::vector<uint64_t> before;
      for (uint32_t n = 0; n < 3; ++n)
        before.push_back(map.count(n));
      leave_least_used(map, use, slices);
      double most = -1, least = 1e9;
      size_t lost_slices = 0, routed_alone = 0;
      for (size_t i = 0; i < use.size(); ++i) {
        bool slice = i % map.experts >= map.experts - slices;
        if (!map.hosts[i])
          slice ? void(++lost_slices) : void(most = std::max(most, use[i]));
        else if (!slice && std::has_single_bit(map.hosts[i]))
          least = std::min(least, use[i]), ++routed_alone;
      }
      BOOST_TEST(most <= least);
      BOOST_TEST((lost_slices == 0 || routed_alone == 0));
      for (uint32_t n = 0; n < 3; ++n)
        BOOST_TEST(map.count(n) == before[n]);
    }
}

BOOST_AUTO_TEST_SUITE_END()
