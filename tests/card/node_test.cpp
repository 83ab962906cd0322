// Answers of a node with a card do not depend on which experts lie there, whatever moves meanwhile.
#include "actors/near_memory.hpp"
#include "model/card_needs.hpp"
#include "model/weights.hpp"
#include "policy/card_budget.hpp"
#include "world.hpp"

#include <nlohmann/json.hpp>

#include <future>
#include <random>
#include <set>
#include <thread>

using namespace coel;
using namespace coel::test;

namespace {

const std::vector<int32_t> prompt{3, 17, 40, 5, 9, 28, 60, 11};

/// Of all routed experts, in the file.
uint64_t routed_bytes(const std::filesystem::path& file) {
  auto source = *model::open_model(file);
  const auto& c = source->config();
  uint64_t sum = 0;
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e)
      sum +=
          *model::expert_file_bytes(*source, {static_cast<layer_id>(l), static_cast<expert_id>(e)});
  return sum;
}

compute::device_ptr beside(compute::device_ptr card) {
  return actors::make_node_device({std::move(card)}, *cpu::make_device({1, "", 0, false}));
}

/// What a node takes of a card's memory before its experts.
uint64_t pinned_bytes(const std::filesystem::path& file, compute::device_ptr card) {
  card_node world;
  world.require(world.start(beside(std::move(card)), file));
  return world.card_tier().used_bytes - world.near().sum().bytes;
}
uint64_t pinned_bytes(const std::filesystem::path& file) {
  return pinned_bytes(file, std::make_shared<pretended_card>(uint64_t{1} << 30));
}

constexpr uint64_t rounding = 64 << 10; // blocks of a card

struct named_card {
  std::string name;
  std::function<gpu::card_ptr()> open;
};

/// One that is emulated, and the machine's own.
std::vector<named_card> cards() {
  std::vector<named_card> all{{"emulated", [] {
                                 return gpu::make_emulated_card({uint64_t{1} << 30, 4, 1});
                               }}};
  if (auto real = gpu::open_card(0))
    all.push_back({(*real)->info().name, [card = *real] { return card; }});
  else
    BOOST_TEST_MESSAGE("skipped on a card: " << real.err().message);
  return all;
}

/// Full when it has so many experts.
class card_of_few : public pretended_card {
 public:
  card_of_few(uint64_t budget, uint32_t most) : pretended_card(budget), most_(most) {}
  result<std::shared_ptr<const compute::expert_weights>>
  load_expert(const compute::expert_views& from, compute::weight_use use) override {
    if (experts >= most_)
      return {ec::out_of_memory, "full"};
    ++experts;
    return pretended_card::load_expert(from, use);
  }
  std::atomic<uint32_t> experts{0};

 private:
  uint32_t most_;
};

compute::device_ptr pretended(uint64_t budget) {
  return beside(std::make_shared<pretended_card>(budget));
}

} // namespace

BOOST_AUTO_TEST_SUITE(card_node_tests)

BOOST_AUTO_TEST_CASE(a_card_with_all_half_or_none_of_the_experts_says_the_same) {
  auto file = nano_model();
  auto want = by_processor(file, prompt, 6);
  auto routed = routed_bytes(file);
  for (auto& [name, open] : cards()) {
    auto pinned = pinned_bytes(file, gpu::make_device(open(), 900 << 20));
    for (double share : {1.25, 0.5, 0.0})
      BOOST_TEST_CONTEXT(name << ", share " << share) {
        auto budget =
            pinned + rounding + static_cast<uint64_t>(share * static_cast<double>(routed));
        card_node world;
        auto up = world.start(actors::make_node_device({gpu::make_device(open(), budget)},
                                                       *cpu::make_device({1, "", 0, false})),
                              file);
        BOOST_REQUIRE_MESSAGE(up.ok(), (up.ok() ? "" : up.err().message));
        auto here = static_cast<double>(world.near().sum().experts);
        auto all = static_cast<double>(world.near().slots());
        BOOST_TEST(here <= all * std::min(1.0, share + 0.2));
        BOOST_TEST(here >= all * std::min(1.0, share / 2));
        auto app = world.client();
        auto got = ask(app, prompt, 6);
        BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
        BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
        auto own = world.model().model->device->status().own_memory;
        BOOST_REQUIRE(own.has_value());
        BOOST_TEST((own->split_lists > 0) == (share < 1));
        BOOST_TEST((world.near().whole_steps > 0) == (share > 1));
        BOOST_TEST(own->used_bytes <= budget);
      }
  }
}

BOOST_AUTO_TEST_CASE(parts_of_a_card_are_cards_too) {
  auto file = nano_model();
  auto want = by_processor(file, prompt, 6);
  auto routed = routed_bytes(file);
  for (auto& [name, open] : cards())
    BOOST_TEST_CONTEXT(name) {
      uint64_t others = 0; // that the first has, besides its experts
      {
        auto large = gpu::make_device(open(), 900 << 20);
        card_node world;
        world.require(world.start(beside(large), file));
        others = large->status().own_memory->used_bytes - world.near().sum().bytes;
      }
      auto budget = (others + routed / 3) * 16 / 15;
      auto first = gpu::make_device(open(), budget), second = gpu::make_device(open(), budget);
      card_node world;
      world.require(world.start(
          actors::make_node_device({first, second}, *cpu::make_device({1, "", 0, false})), file));
      BOOST_TEST(world.near().sum().experts == world.near().slots());
      auto app = world.client();
      auto got = ask(app, prompt, 6);
      BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
      BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
      auto own = world.model().model->device->status().own_memory;
      BOOST_TEST(own->beside_experts == 0u);      // none on the processor
      BOOST_TEST(world.near().whole_steps == 0u); // some on the second
      for (const auto& d : {first, second})
        BOOST_TEST(d->status().own_memory->used_bytes <= budget);
    }
}

BOOST_AUTO_TEST_CASE(too_little_for_what_every_token_uses_is_refused_with_what_is_needed) {
  for (uint64_t budget : {uint64_t{1} << 16, pinned_bytes(demo_model) / 2}) {
    card_node world;
    auto up = world.start(pretended(budget), demo_model);
    BOOST_REQUIRE(!up.ok());
    BOOST_TEST((up.err().code == ec::out_of_memory));
    BOOST_TEST(up.err().message.find("--gpu") != std::string::npos);
    BOOST_TEST(up.err().message.find("MiB") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(what_is_said_beforehand_is_what_a_node_does) {
  auto source = *model::open_model(demo_model);
  constexpr uint64_t kv = uint64_t{2} << 20; // as of the nodes here, and their rows
  auto needs = *model::card_needs_of(*source, {64, 64, 32, kv});
  auto refused = policy::plan_card(needs, 1, true);
  BOOST_REQUIRE(!refused.ok());
  for (uint64_t more : {uint64_t{1} << 20, uint64_t{2} << 20, uint64_t{8} << 20}) {
    auto budget = policy::card_pinned(needs) + kv + needs.step_bytes + more;
    auto said = policy::plan_card(needs, budget, true);
    BOOST_REQUIRE(said.ok());
    card_node world;
    world.require(world.start(pretended(budget), demo_model));
    auto here = world.near().sum().experts;
    // what is said are bounds: matrices are rounded up, tables count that this card reads in place
    BOOST_TEST(here >= said->experts);
    BOOST_TEST((here - said->experts) * needs.of.expert_bytes <= budget / 4);
    BOOST_TEST(said->experts > 0u);
  }
}

BOOST_AUTO_TEST_CASE(experts_come_and_go_while_requests_run) {
  auto routed = routed_bytes(demo_model), pinned = pinned_bytes(demo_model);
  auto budget = pinned + routed / 2;
  card_node world;
  world.require(world.start(pretended(budget), demo_model));
  auto base = world.card_tier().used_bytes - world.near().sum().bytes;
  auto want = by_processor(demo_model, prompt, 60);
  std::atomic<bool> over{false};
  std::atomic<uint64_t> moves{0}, refusals{0};
  std::vector<std::thread> movers;
  const auto& m = *world.model().model;
  for (uint32_t t = 0; t < 2; ++t)
    movers.emplace_back([&, t] {
      std::mt19937 rng(t + 1);
      while (!over) {
        auto layer = rng() % m.config().layers, expert = rng() % m.config().experts;
        const auto& who = world.model().experts[layer * m.experts_per_layer + expert];
        (world.ask(who, actors::atom::load::value, rng() % 2 == 0).ok() ? moves : refusals)++;
      }
    });
  auto app = world.client();
  for (int round = 0; round < 4; ++round) {
    std::vector<uint64_t> ids;
    for (int i = 0; i < 3; ++i)
      ids.push_back(*app.send(greedy(prompt, 60)));
    for (const auto& got : collect(app, ids)) {
      BOOST_TEST(!got.failure.has_value());
      BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
    }
    BOOST_TEST(world.card_tier().used_bytes <= budget);
  }
  over = true;
  for (auto& t : movers)
    t.join();
  BOOST_TEST(moves > 10u);
  BOOST_TEST_MESSAGE(moves << " moves, " << refusals << " refused");
  // every lease is over: the account is what the board says
  for (int i = 0; i < 200; ++i) {
    if (world.card_tier().used_bytes == base + world.near().sum().bytes)
      break;
    std::this_thread::sleep_for(10ms);
  }
  BOOST_TEST(world.card_tier().used_bytes == base + world.near().sum().bytes);
}

BOOST_AUTO_TEST_CASE(steps_are_one_list_as_long_as_all_experts_are_there) {
  card_node world;
  world.require(
      world.start(pretended(pinned_bytes(demo_model) + 2 * routed_bytes(demo_model)), demo_model));
  auto& near = world.near();
  BOOST_REQUIRE(near.sum().experts == near.slots());
  auto app = world.client();
  const auto& m = *world.model().model;
  auto want = by_processor(demo_model, prompt, 60);
  BOOST_TEST(ask(app, prompt, 60).tokens == want, boost::test_tools::per_element());
  auto whole = near.whole_steps.load();
  BOOST_TEST(whole >= 59u);
  // every layer's choices are counted
  auto rows = near.sum().rows;
  BOOST_TEST(rows >= (59 + prompt.size()) * m.config().layers * m.config().top_k);
  BOOST_TEST(near.sum().rows_near == rows);
  // one expert elsewhere, in mid-answer, and back
  const auto& who = world.model().experts[m.experts_per_layer + 3];
  for (int round = 0; round < 5; ++round) {
    std::vector<uint64_t> ids{*app.send(greedy(prompt, 60)), *app.send(greedy(prompt, 60))};
    BOOST_TEST(world.ask(who, actors::atom::load::value, false).ok());
    for (const auto& got : collect(app, ids)) {
      BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
      BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
    }
    (void)world.ask(who, actors::atom::load::value, true); // the keeper may have done it
    BOOST_TEST(ask(app, prompt, 60).tokens == want, boost::test_tools::per_element());
  }
  BOOST_TEST(near.whole_steps > whole);
}

BOOST_AUTO_TEST_CASE(several_cards_hold_what_one_has_no_room_for) {
  constexpr uint64_t budget = uint64_t{1} << 30;
  auto first = std::make_shared<card_of_few>(budget, 20),
       second = std::make_shared<card_of_few>(budget, 15),
       third = std::make_shared<card_of_few>(budget, 1000);
  card_node world;
  world.require(world.start(
      actors::make_node_device({first, second, third}, *cpu::make_device({1, "", 0, false})),
      demo_model));
  auto& near = world.near();
  BOOST_TEST(near.sum().experts == near.slots());
  BOOST_TEST(world.card_tier().budget_bytes == 3 * budget);
  BOOST_TEST(first->experts == 20u);
  BOOST_TEST(second->experts == 15u);
  BOOST_TEST(third->experts >= near.slots() - 35);
  auto app = world.client();
  auto want = by_processor(demo_model, prompt, 60);
  for (int round = 0; round < 3; ++round) {
    std::vector<uint64_t> ids{*app.send(greedy(prompt, 60)), *app.send(greedy(prompt, 60))};
    for (const auto& got : collect(app, ids)) {
      BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
      BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
    }
  }
  BOOST_TEST(near.whole_steps == 0u); // some experts are not on the first
  auto own = world.model().model->device->status().own_memory;
  BOOST_TEST(own->beside_experts == 0u); // none on the processor
  second->lost = true;
  BOOST_TEST((ask(app, prompt, 60).tokens == want)); // on the processor
}

BOOST_AUTO_TEST_CASE(what_is_used_is_brought_there) {
  auto budget = pinned_bytes(demo_model) + routed_bytes(demo_model) / 4;
  card_node world;
  world.require(world.start(pretended(budget), demo_model));
  auto first = world.near().sum();
  BOOST_TEST(first.experts > 0u);
  auto app = world.client();
  auto want = by_processor(demo_model, prompt, 200);
  for (int i = 0; i < 100 && world.near().given_up < 4; ++i) {
    auto got = ask(app, prompt, 200);
    BOOST_TEST(!got.failure.has_value());
    BOOST_REQUIRE(got.tokens == want);
    BOOST_TEST(world.card_tier().used_bytes <= budget);
  }
  BOOST_TEST(world.near().given_up >= 4u);
  auto before = world.near().sum();
  for (int i = 0; i < 3; ++i)
    ask(app, prompt, 200);
  auto now = world.near().sum();
  double share = static_cast<double>(now.rows_near - before.rows_near) /
                 static_cast<double>(now.rows - before.rows);
  double experts = static_cast<double>(now.experts) / static_cast<double>(world.near().slots());
  BOOST_TEST_MESSAGE("activations on the card: " << share << " by " << experts
                                                 << " of the experts");
  BOOST_TEST(share > experts); // which any others would have
}

BOOST_AUTO_TEST_CASE(with_experts_on_disk_too) {
  auto budget = pinned_bytes(demo_model) + routed_bytes(demo_model) / 4;
  card_node world;
  actors::node_config c;
  c.expert_share = 0.4;
  auto up = world.start(pretended(budget), demo_model, c);
  BOOST_REQUIRE_MESSAGE(up.ok(), (up.ok() ? "" : up.err().message));
  BOOST_REQUIRE(world.model().model->tiered);
  BOOST_TEST(world.near().sum().experts > 0u);
  auto app = world.client();
  auto want = by_processor(demo_model, prompt, 100);
  for (int i = 0; i < 5; ++i) {
    auto got = ask(app, prompt, 100);
    BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
    BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
  }
  BOOST_TEST(world.near().sum().rows_near > 0u);
}

BOOST_AUTO_TEST_CASE(sessions_go_on_when_the_card_is_lost) {
  for (double share : {2.0, 0.5})
    BOOST_TEST_CONTEXT("share " << share) {
      auto card = std::make_shared<pretended_card>(
          pinned_bytes(demo_model) +
          static_cast<uint64_t>(share * static_cast<double>(routed_bytes(demo_model))));
      card_node world;
      actors::node_config c;
      std::promise<std::optional<error>> said;
      c.device_lost = [&](const std::optional<error>& end) { said.set_value(end); };
      world.require(world.start(beside(card), demo_model, c));
      auto app = world.client();
      auto want = by_processor(demo_model, prompt, 150);
      std::vector<uint64_t> ids;
      for (int i = 0; i < 3; ++i)
        ids.push_back(*app.send(greedy(prompt, 150)));
      std::this_thread::sleep_for(30ms);
      card->lost = true;
      for (const auto& got : collect(app, ids)) {
        BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
        BOOST_TEST(got.tokens == want, boost::test_tools::per_element());
      }
      auto outcome = said.get_future();
      BOOST_REQUIRE(outcome.wait_for(patience) == std::future_status::ready);
      auto end = outcome.get();
      BOOST_TEST_MESSAGE((end ? end->message : "goes on"));
      BOOST_TEST(!end.has_value());
      BOOST_TEST(world.model().model->near == nullptr);
      BOOST_TEST((ask(app, prompt, 150).tokens == want));
    }
}

BOOST_AUTO_TEST_CASE(without_room_to_go_on_the_loss_is_told_to_all) {
  auto card = std::make_shared<pretended_card>(uint64_t{1} << 30);
  card_node world;
  actors::node_config c;
  std::promise<std::optional<error>> said;
  c.device_lost = [&](const std::optional<error>& end) { said.set_value(end); };
  c.expert_share = 0.5;
  auto up = world.start(actors::make_node_device({card}, *cpu::make_device({1, "", 0, false})),
                        demo_model, c);
  BOOST_REQUIRE_MESSAGE(up.ok(), (up.ok() ? "" : up.err().message));
  auto app = world.client();
  BOOST_TEST(!ask(app, prompt, 5).failure.has_value());
  card->lost = true;
  auto got = ask(app, prompt, 5);
  BOOST_REQUIRE(got.failure.has_value());
  BOOST_TEST((got.failure->code == ec::device_lost));
  auto outcome = said.get_future();
  BOOST_REQUIRE(outcome.wait_for(patience) == std::future_status::ready);
  auto end = outcome.get();
  BOOST_REQUIRE(end.has_value());
  BOOST_TEST(end->message.find("restart the node") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(status_and_metrics_tell_of_the_card) {
  card_node world;
  world.require(
      world.start(pretended(pinned_bytes(demo_model) + routed_bytes(demo_model) / 2), demo_model));
  auto app = world.client();
  BOOST_TEST(!ask(app, prompt, 20).failure.has_value());
  auto status = nlohmann::json::parse(document(app, "status"));
  const auto& card = status.at("card");
  BOOST_TEST(card.at("name") == "pretended");
  BOOST_TEST(!card.at("lost").get<bool>());
  auto used = card.at("used_bytes").get<uint64_t>();
  BOOST_TEST((used > 0 && used <= card.at("budget_bytes").get<uint64_t>()));
  BOOST_TEST(card.at("split_lists").get<uint64_t>() > 0u);
  BOOST_TEST(card.at("beside_experts").get<uint64_t>() > 0u);
  const auto& model = card.at("models").at(0);
  BOOST_TEST(model.at("here").get<uint64_t>() == world.near().sum().experts);
  BOOST_TEST(model.at("experts").get<uint64_t>() == world.near().slots());
  auto hits = model.at("hit_rate").get<double>();
  BOOST_TEST((hits > 0 && hits < 1));
  std::set<std::string> tiers;
  for (const auto& t : status.at("memory"))
    tiers.insert(t.at("tier").get<std::string>());
  BOOST_TEST((tiers == std::set<std::string>{"card", "ram"}));
  auto metrics = nlohmann::json::parse(document(app, "metrics")).at("text").get<std::string>();
  for (const char* line : {"coel_card_used_bytes ", "coel_card_experts{model=\"tiny\"} ",
                           "coel_card_near_rows_total{", "coel_card_lost 0"})
    BOOST_TEST(metrics.find(line) != std::string::npos, line);
  std::set<std::string> places;
  auto experts = nlohmann::json::parse(document(app, "experts"));
  for (const auto& layer : experts.at("layers"))
    for (const auto& e : layer.at("experts"))
      places.insert(e.at("residency").get<std::string>());
  BOOST_TEST((places == std::set<std::string>{"card", "ram"}));
}

BOOST_AUTO_TEST_SUITE_END()
