// In a cluster a card's memory is room for experts, beside the node's other memory.
#include "../cluster/answers.hpp"
#include "../cluster/test_cluster.hpp"
#include "actors/near_memory.hpp"
#include "model/weights.hpp"
#include "world.hpp"

#include <future>

using namespace coel;
using namespace coel::test;
using coel::testing::distance;
using coel::testing::must;
using coel::testing::some_tokens;
using coel::testing::test_cluster;

namespace {

uint64_t largest_expert(const std::filesystem::path& file) {
  auto source = *model::open_model(file);
  uint64_t largest = 0;
  for (uint32_t l = 0; l < source->config().layers; ++l)
    for (uint32_t e = 0; e < model::experts_per_layer(*source); ++e)
      largest = std::max(largest, *model::expert_file_bytes(*source, {static_cast<layer_id>(l),
                                                                      static_cast<expert_id>(e)}));
  return largest;
}

uint64_t items_of(const std::filesystem::path& file) {
  auto source = *model::open_model(file);
  return uint64_t{source->config().layers} * model::experts_per_layer(*source);
}

uint64_t part_of(uint64_t items, double share) {
  return static_cast<uint64_t>(share * static_cast<double>(items));
}

/// What the first node of such a cluster takes of a card that has room for everything, but for its
/// experts.
uint64_t others_on_card(uint64_t ram_bytes) {
  testing::node_options o;
  o.device = [](size_t, compute::device_ptr cpu) {
    return actors::make_node_device({std::make_shared<pretended_card>(uint64_t{1} << 30)},
                                    std::move(cpu));
  };
  o.adjust = [&](size_t, actors::node_config& c) { c.ram_bytes = ram_bytes; };
  test_cluster one(1, o);
  one.settle();
  const auto& near = *one.model(0).model->near;
  // those of the largest step, which the tier has counted; and shared experts
  return status_of(one.system(0), near.tier()).used_bytes - near.sum().bytes;
}

/// In pieces, so that its budget promises more experts than find a place.
class card_in_pieces : public pretended_card {
 public:
  card_in_pieces(uint64_t budget, uint32_t most) : pretended_card(budget), most_(most) {}
  result<std::shared_ptr<const compute::expert_weights>>
  load_expert(const compute::expert_views& from, compute::weight_use use) override {
    if (*here_ >= most_)
      return {ec::out_of_memory, "no piece is large enough"};
    auto made = pretended_card::load_expert(from, use);
    if (!made)
      return made;
    ++*here_;
    auto* at = made->get();
    return std::shared_ptr<const compute::expert_weights>(
        at, [held = *made, count = here_](const compute::expert_weights*) mutable {
          held.reset();
          --*count;
        });
  }

 private:
  uint32_t most_;
  std::shared_ptr<std::atomic<uint32_t>> here_ = std::make_shared<std::atomic<uint32_t>>(0);
};

/// Node 0 has a card; the others have none and `share` of the items in memory.
struct carded {
  uint64_t items = items_of(demo_model), bytes = largest_expert(demo_model);
  uint64_t ram = 0, card_bytes = 0;
  std::shared_ptr<pretended_card> card;
  std::promise<std::optional<error>> said;
  std::unique_ptr<test_cluster> cluster;

  carded(size_t nodes, double in_ram, double on_card, double share, double in_pieces = 0) {
    ram = part_of(items, in_ram) * bytes + bytes * 9 / 10;
    card_bytes = others_on_card(ram) + part_of(items, on_card) * bytes + bytes * 9 / 10;
    if (in_pieces > 0)
      card = std::make_shared<card_in_pieces>(card_bytes,
                                              static_cast<uint32_t>(part_of(items, in_pieces)));
    else
      card = std::make_shared<pretended_card>(card_bytes);
    testing::node_options o;
    o.device = [this](size_t i, compute::device_ptr cpu) {
      return i ? cpu : actors::make_node_device({card}, cpu);
    };
    auto others = testing::memory_for(demo_model, share);
    o.adjust = [=, this](size_t i, actors::node_config& c) {
      c.ram_bytes = i ? others : ram;
      if (!i)
        c.device_lost = [this](const std::optional<error>& end) { said.set_value(end); };
    };
    cluster = std::make_unique<test_cluster>(nodes, o);
  }
  const actors::near_memory& near() const { return *cluster->model(0).model->near; }

  /// Of a node that is settled: it keeps both promises.
  void check_budgets() const {
    auto own = card->status().own_memory;
    BOOST_TEST(own->used_bytes <= card_bytes);
    auto now = status_of(cluster->system(0), near().tier());
    BOOST_TEST(now.used_bytes <= card_bytes);
    BOOST_TEST(now.budget_bytes == card_bytes);
    uint64_t far = 0; // experts that are here and not on the card
    const auto& m = *cluster->model(0).model;
    auto here = cluster->placement(0).nodes.front().holds;
    for (size_t i = 0; i < items; ++i) {
      auto layer = i / m.experts_per_layer, e = i % m.experts_per_layer;
      bool routed = e < m.config().experts;
      far += routed && here.test(i) && near().bytes(layer * m.config().experts + e) == 0;
    }
    BOOST_TEST(far * bytes <= ram);
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(card_cluster_tests)

BOOST_AUTO_TEST_CASE(a_node_holds_all_experts_in_both_memories) {
  carded c(1, 0.6, 0.5, 0);
  c.cluster->settle(); // all are held
  BOOST_TEST(c.cluster->placement(0).nodes.front().holds.count() == c.items);
  BOOST_TEST(c.near().sum().experts > 0u);
  BOOST_TEST(c.near().sum().experts < c.near().slots());
  c.check_budgets();
}

BOOST_AUTO_TEST_CASE(what_a_card_has_no_piece_for_is_not_promised) {
  carded c(1, 0.4, 0.5, 0, 0.25);
  auto room = [&] {
    auto now = c.cluster->placement(0);
    return now.nodes.empty() ? 0 : now.nodes.front().room; // it may not have its model yet
  };
  test_cluster::wait_for([&] { return "a room that is there, not of " + std::to_string(room()); },
                         [&] { return room() > 0 && room() < part_of(c.items, 0.7); });
  BOOST_TEST(room() >= part_of(c.items, 0.4)); // all of its other memory is there
}

BOOST_AUTO_TEST_CASE(two_nodes_cover_with_a_card_what_they_could_not_without) {
  testing::node_options plain;
  test_cluster reference(1, plain);
  reference.settle();
  auto tokens = some_tokens(40);
  auto want = must(reference.logits(0, tokens));

  carded c(2, 0.3, 0.35, 0.45); // the memories beside the card have room for three quarters
  c.cluster->settle();
  auto here = c.cluster->placement(0).nodes.front();
  BOOST_TEST(here.holds.count() > part_of(c.items, 0.4));
  BOOST_TEST(here.room > part_of(c.items, 0.5));
  c.check_budgets();
  for (size_t home : {0, 1})
    BOOST_TEST(distance(must(c.cluster->logits(home, tokens)), want) < 0.05);
  c.check_budgets();

  c.card->lost = true;
  auto outcome = c.said.get_future();
  BOOST_REQUIRE(outcome.wait_for(patience) == std::future_status::ready);
  auto end = outcome.get();
  BOOST_REQUIRE(end.has_value()); // the node ends: its clients go on elsewhere
  BOOST_TEST((end->code == ec::device_lost));
}

BOOST_AUTO_TEST_SUITE_END()
