// Rows reach exactly the experts that the router chose, at hosts that hold them, and the network is
// used only where it is predicted to pay.
#include "policy/dispatch_split.hpp"
#include "policy/linear_fit.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <random>

using namespace coel;
using namespace coel::policy;

namespace {

constexpr node_id self{0}, peer{1}, other{2};

routing_table everywhere(uint32_t experts, uint32_t nodes) {
  std::map<node_id, bitmap> holds;
  for (uint32_t n = 0; n < nodes; ++n) {
    bitmap all(experts);
    for (uint32_t e = 0; e < experts; ++e)
      all.set(e);
    holds[node_id{n}] = all;
  }
  return {1, experts, holds, 1};
}

std::vector<expert_rows> one_row_each(uint32_t experts) {
  std::vector<expert_rows> all;
  for (uint32_t e = 0; e < experts; ++e)
    all.push_back({static_cast<expert_id>(e), {0}, {1.f}});
  return all;
}

size_t experts_at(const split& s, node_id host) {
  for (const auto& h : s.hosts)
    if (h.host == host)
      return h.experts.size();
  return 0;
}

} // namespace

BOOST_AUTO_TEST_SUITE(splits)

BOOST_AUTO_TEST_CASE(what_nobody_holds_is_read_and_what_a_slow_peer_holds_too) {
  std::map<node_id, bitmap> holds{{self, bitmap(4)}, {peer, bitmap(4)}};
  holds[self].set(0);
  holds[peer].set(1);
  holds[peer].set(2); // 3 is nobody's
  routing_table table(1, 4, holds, 1);
  uint32_t experts = 3;
  double read_us = 2000, peer_us = 300;
  read_price price = [&](expert_id e) -> std::optional<double> {
    return e == expert_id{2} ? 0 : read_us; // 2 is in memory by chance
  };
  auto there = [&] {
    std::map<node_id, host_cost> costs{{self, {0, 0, {100, 10}}}, {peer, {peer_us, 1, {100, 10}}}};
    auto s = split_rows({&table, layer_id{0}, self, &costs, nullptr, nullptr, &price},
                        one_row_each(experts));
    BOOST_TEST(s.nowhere.empty());
    return experts_at(s, peer);
  };
  BOOST_TEST(there() == 1u); // 1 only: the way to the peer is shorter than a read
  peer_us = 5000;
  BOOST_TEST(there() == 0u);
  read_us = 20000;
  BOOST_TEST(there() == 1u);
  experts = 4; // what is read holds up the rest, whatever it takes
  BOOST_TEST(there() == 2u);
}

BOOST_AUTO_TEST_CASE(a_node_that_failed_to_read_reads_no_more) {
  std::map<node_id, bitmap> holds{{self, bitmap(2)}, {peer, bitmap(2)}};
  holds[peer].set(1);
  routing_table table(1, 2, holds, 1);
  read_price none = [](expert_id) { return std::optional<double>(); };
  std::map<node_id, host_cost> costs{{self, {0, 0, {1, 1}}}, {peer, {9000, 1, {100, 10}}}};
  auto s =
      split_rows({&table, layer_id{0}, self, &costs, nullptr, nullptr, &none}, one_row_each(2));
  BOOST_TEST(experts_at(s, peer) == 1u);
  BOOST_TEST(s.nowhere.size() == 1u);
}

BOOST_AUTO_TEST_CASE(nothing_is_lost_or_doubled_and_every_host_holds_what_it_gets) {
  for (uint32_t seed = 1; seed <= 500; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      uint32_t experts = random() % 30 + 1, nodes = random() % 5 + 1, rows = random() % 9 + 1;
      std::map<node_id, bitmap> holds;
      std::map<node_id, host_cost> costs;
      for (uint32_t n = 0; n < nodes; ++n) {
        holds[node_id{n}] = bitmap(experts);
        for (uint32_t e = 0; e < experts; ++e)
          holds[node_id{n}].set(e, random() % 2);
        costs[node_id{n}] = {n ? random() % 1000 + 1.0 : 0.0, n ? 1.0 : 0.0, {100.0, 10.0}};
      }
      routing_table table(1, experts, holds, 1);
      std::vector<expert_rows> asked;
      for (uint32_t e = 0; e < experts; ++e) {
        expert_rows some{static_cast<expert_id>(e), {}, {}};
        for (uint32_t r = 0; r < rows; ++r)
          if (random() % 3 == 0) {
            some.rows.push_back(r);
            some.weights.push_back(static_cast<float>(random() % 100));
          }
        if (!some.rows.empty())
          asked.push_back(some);
      }
      std::set<node_id> avoid{node_id{static_cast<uint32_t>(random() % 6)}};
      replica_pick any = [&](std::span<const node_id> hosts) { return random() % hosts.size(); };
      split_problem problem{&table, layer_id{0}, self, &costs, &avoid, seed % 2 ? &any : nullptr};
      auto s = split_rows(problem, asked);
      std::map<expert_id, std::vector<uint32_t>> got;
      for (const auto& h : s.hosts) {
        BOOST_TEST(!avoid.count(h.host));
        for (const auto& e : h.experts) {
          BOOST_TEST(holds[h.host].test(index(e.expert)));
          BOOST_TEST(got.emplace(e.expert, e.rows).second);
        }
      }
      for (const auto& e : s.nowhere) {
        for (auto host : table.hosts({layer_id{0}, e.expert}))
          BOOST_TEST(avoid.count(host));
        BOOST_TEST(got.emplace(e.expert, e.rows).second);
      }
      BOOST_TEST(got.size() == asked.size());
      for (const auto& e : asked)
        BOOST_TEST(got[e.expert] == e.rows);
    }
}

BOOST_AUTO_TEST_CASE(a_rule_chooses_among_others_and_what_is_here_stays_here) {
  std::map<node_id, bitmap> holds{{self, bitmap(4)}, {peer, bitmap(4)}, {other, bitmap(4)}};
  for (uint32_t e = 0; e < 4; ++e) {
    holds[self].set(e, e == 0);
    holds[peer].set(e);
    holds[other].set(e, e != 3);
  }
  routing_table table(1, 4, holds, 1);
  std::map<node_id, host_cost> costs{
      {self, {0, 0, {3000, 0}}}, {peer, {10, 1, {1, 0}}}, {other, {9000, 1, {1, 0}}}};
  replica_pick last = [](std::span<const node_id> hosts) { return hosts.size() - 1; };
  auto s = split_rows({&table, layer_id{0}, self, &costs, nullptr, &last}, one_row_each(4));
  BOOST_TEST(experts_at(s, self) == 1u);
  BOOST_TEST(experts_at(s, other) == 2u); // dear as it is
  BOOST_TEST(experts_at(s, peer) == 1u);  // the only one that holds it
}

BOOST_AUTO_TEST_CASE(equal_nodes_share_where_the_round_trip_is_short) {
  auto table = everywhere(8, 2);
  std::map<node_id, host_cost> costs{{self, {0, 0, {300, 0}}}, {peer, {300, 1, {300, 0}}}};
  auto s = split_rows({&table, layer_id{0}, self, &costs, nullptr}, one_row_each(8));
  BOOST_TEST(experts_at(s, self) + experts_at(s, peer) == 8u);
  BOOST_TEST(experts_at(s, peer) >= 3u);
  BOOST_TEST(s.predicted_us < s.alone_us);
}

BOOST_AUTO_TEST_CASE(a_far_node_is_left_alone_while_the_experts_are_here) {
  auto table = everywhere(8, 2);
  std::map<node_id, host_cost> costs{{self, {0, 0, {300, 0}}}, {peer, {4000, 1, {300, 0}}}};
  auto s = split_rows({&table, layer_id{0}, self, &costs, nullptr}, one_row_each(8));
  BOOST_TEST(experts_at(s, self) == 8u);
  BOOST_TEST(s.predicted_us == s.alone_us);
}

BOOST_AUTO_TEST_CASE(a_slow_node_gets_less) {
  auto table = everywhere(12, 3);
  std::map<node_id, host_cost> costs{
      {self, {0, 0, {300, 0}}}, {peer, {200, 1, {300, 0}}}, {other, {200, 1, {3000, 0}}}};
  auto s = split_rows({&table, layer_id{0}, self, &costs, nullptr}, one_row_each(12));
  BOOST_TEST(experts_at(s, other) <= 1u);
  BOOST_TEST(experts_at(s, peer) >= 4u);
}

BOOST_AUTO_TEST_CASE(costs_are_learnt_from_what_is_measured) {
  linear_fit fit(50, 50);
  std::mt19937 random(7);
  std::uniform_real_distribution<double> noise(0.95, 1.05);
  for (int i = 0; i < 400; ++i) {
    double k = random() % 8 + 1, rows = k * (random() % 20 + 1);
    fit.add(k, rows, (200 * k + 12 * rows) * noise(random));
  }
  BOOST_TEST(fit.a() == 200.0, boost::test_tools::tolerance(0.15));
  BOOST_TEST(fit.b() == 12.0, boost::test_tools::tolerance(0.15));
  for (int i = 0; i < 400; ++i)
    fit.add(4, 4, 10 * (200 * 4 + 12 * 4)); // the machine became ten times slower
  BOOST_TEST(fit.at(4, 4) == 8480.0, boost::test_tools::tolerance(0.1));
}

BOOST_AUTO_TEST_CASE(a_fit_of_scattered_times_is_their_mean) {
  linear_fit fit;
  std::mt19937 random(7);
  double sum = 0;
  for (int i = 0; i < 2000; ++i) {
    double us = random() % 5 ? 800 : 2000; // 1040 on average
    fit.add(1, 1, us);
    sum += fit.at(1, 1);
  }
  BOOST_TEST(sum / 2000 == 1040.0, boost::test_tools::tolerance(0.05));
}

BOOST_AUTO_TEST_CASE(a_wild_first_measurement_is_soon_forgotten) {
  linear_fit fit;
  fit.add(1, 1, 1000);
  for (int i = 0; i < 3; ++i)
    fit.add(500, 500, 50);
  BOOST_TEST(fit.at(500, 500) < 500.0); // and not half a million
}

BOOST_AUTO_TEST_CASE(a_fit_stays_finite_whatever_is_measured) {
  for (uint32_t seed = 1; seed <= 200; ++seed)
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937 random(seed);
      linear_fit fit(0, random() % 100);
      for (int i = 0; i < 3000; ++i) {
        double u = random() % 3 ? 1 : static_cast<double>(random() % 64 + 1);
        double v = random() % 4 ? u : u * static_cast<double>(random() % 5000);
        fit.add(u, v, std::exp(static_cast<double>(random() % 20)));
        BOOST_REQUIRE((fit.a() >= 0 && fit.a() < 1e12 && fit.b() >= 0 && fit.b() < 1e12));
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
