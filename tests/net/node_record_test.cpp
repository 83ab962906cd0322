// Records survive the wire, and no bytes from it hurt.
#include "net/node_record.hpp"

#include <boost/test/unit_test.hpp>

#include <random>

using namespace coel;

namespace {

node_record example() {
  node_record r;
  r.version = 7;
  r.name = "attic";
  r.app_endpoints = {"tcp://10.0.0.7:7411"};
  r.draining = true;
  r.ram_bytes = 8ull << 30;
  r.ram_used_bytes = 3ull << 30;
  r.expert_memory_bytes = 2ull << 30;
  model_record m;
  m.name = "tiny";
  m.hash[31] = std::byte{9};
  m.layers = 3;
  m.experts_per_layer = 5;
  m.expert_bytes = 1000;
  m.capacity_bytes = 5000;
  m.home = true;
  m.reads = true;
  m.chunks = bitmap(11);
  m.chunks.set(10);
  m.speed = {12.5, 0.25};
  m.holds = bitmap(15);
  m.holds.set(3);
  m.holds.set(14);
  m.popularity.assign(15, 200);
  m.dense = {30, 0.5, 400};
  m.tokens_per_s = 16;
  m.plan = {4, "home key", {"layers", 20000, 5e6, 3.5, 4096}, "it is sooner", true, {}, {}, {}};
  m.plan.options = {m.plan.chosen, {"random", 30000, 7e6, 5, 8192}};
  m.plan.shares = {{"a", m.holds}, {"b", bitmap(15)}};
  m.plan.stages = {{"a", 0, m.layers - 1}, {"b", m.layers - 1, 1}};
  r.models = {m};
  r.neighbours = {{"key", 200, 118'000'000}};
  return r;
}

} // namespace

BOOST_AUTO_TEST_SUITE(node_records)

BOOST_AUTO_TEST_CASE(come_back_as_they_went) {
  auto back = net::unpack_node_record(net::pack_node_record(example()));
  BOOST_REQUIRE_MESSAGE(back.ok(), (back.ok() ? "" : back.err().message));
  BOOST_TEST((*back == example()));
}

BOOST_AUTO_TEST_CASE(stages_are_all_layers_in_order) {
  auto refused = [](std::vector<planned_stage> stages) {
    auto record = example();
    record.models[0].plan.stages = std::move(stages);
    return !net::unpack_node_record(net::pack_node_record(record)).ok();
  };
  auto layers = example().models[0].layers;
  BOOST_TEST(!refused({}));
  BOOST_TEST(!refused({{"a", 0, layers}}));
  BOOST_TEST(refused({{"a", 0, layers - 1}}));
  BOOST_TEST(refused({{"a", 1, layers - 1}}));
  BOOST_TEST(refused({{"a", 0, layers + 1}}));
  BOOST_TEST(refused({{"a", 0, layers}, {"b", layers, 0}}));
  BOOST_TEST(refused({{"a", 0, 1}, {"b", 0, layers}}));
}

BOOST_AUTO_TEST_CASE(damaged_ones_are_refused_or_harmless) {
  auto good = net::pack_node_record(example());
  for (size_t n = 0; n < good.size(); ++n)
    BOOST_TEST(!net::unpack_node_record(std::span(good).first(n)).ok());
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    auto bad = good;
    bad[random() % bad.size()] = static_cast<std::byte>(random());
    if (auto r = net::unpack_node_record(bad); r.ok())
      for (const auto& m : r->models) {
        BOOST_TEST(m.holds.size() == size_t{m.layers} * m.experts_per_layer);
        for (const auto& share : m.plan.shares)
          BOOST_TEST(share.holds.size() == m.holds.size());
      }
  }
}

BOOST_AUTO_TEST_CASE(a_model_of_absurd_size_is_refused) {
  auto r = example();
  r.models[0].layers = 60'000;
  r.models[0].experts_per_layer = 60'000;
  auto back = net::unpack_node_record(net::pack_node_record(r));
  BOOST_REQUIRE(!back.ok());
  BOOST_TEST(back.err().message.find("60000 layers") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
