// Copies of fewer bits as the answer to a miss: they run where the disk is slow, within the budget,
// and are counted; without them, or where a type of fewer bits saves nothing, nothing changes.
#include "actors/lower_copies.hpp"
#include "model/quantise_model.hpp"
#include "tier_world.hpp"

using namespace coel;
using namespace coel::actors;
using namespace coel::actors::test;

namespace {

const std::string story = "Once upon a time, there was a little girl named Lily. She";

struct lower_world : tier_world {
  std::vector<int32_t> prompt = tokens_of(story);

  result<void> serve_with(double share, std::optional<dtype> type = {}) {
    tiering_choice choice;
    choice.expert_share = 0.25;
    choice.lower = {share, type};
    return serve(choice);
  }
  /// Answers until what is missed has copies, at least so many.
  void make_copies(uint64_t least) {
    auto until = steady::now() + patience;
    while (tiering().lower_copies < least && steady::now() < until)
      (void)ask(prompt, 60);
    BOOST_REQUIRE_GE(tiering().lower_copies, least);
  }
  void slow_down() {
    mood->is([](int64_t truth) {
      std::this_thread::sleep_for(20ms);
      return truth;
    });
  }
  uint64_t lower_uses() {
    uint64_t sum = 0;
    for (const auto& l : tiering().layers)
      sum += l.lower;
    return sum;
  }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(lower_precision, lower_world)

BOOST_AUTO_TEST_CASE(copies_run_where_the_disk_is_slow_and_are_counted) {
  BOOST_REQUIRE(serve_with(0.5).ok());
  make_copies(5);
  slow_down();
  auto before = tiering();
  auto uses_before = lower_uses();
  auto got = ask(prompt, 60);
  BOOST_REQUIRE_MESSAGE(!got.failure, (got.failure ? got.failure->message : ""));
  BOOST_TEST(got.tokens.size() == 60u);
  auto after = tiering();
  BOOST_TEST(after.lower_type == "q4_0");
  BOOST_TEST(after.lower_rows > before.lower_rows);
  BOOST_TEST(after.rows - before.rows > after.lower_rows - before.lower_rows);
  BOOST_TEST(lower_uses() > uses_before);
}

BOOST_AUTO_TEST_CASE(the_budget_holds_with_copies) {
  auto idle = device->status().resident_bytes;
  BOOST_REQUIRE(serve_with(0.5).ok());
  const auto plan = hosted.model->tiered->plan;
  const auto& lower = *hosted.model->tiered->lower;
  auto pinned = device->status().resident_bytes - status().models.at(0).cache_used_bytes;
  BOOST_TEST(plan.lower_bytes > 0u);
  BOOST_TEST(lower.room() < plan.lower_bytes); // what making one takes is of it too
  std::atomic<bool> over{false};
  uint64_t most_used = 0, most_resident = 0, most_copies = 0;
  std::thread eyes([&] {
    while (!over) {
      auto now = status();
      most_used = std::max(most_used, now.used_bytes);
      most_copies = std::max(most_copies, now.models.at(0).lower_bytes);
      most_resident = std::max(most_resident, device->status().resident_bytes);
    }
  });
  make_copies(5);
  slow_down();
  for (auto text : {"Tom had a red car. One day", "The big dog was sad because", "Mom and Dad"}) {
    auto a = begin(tokens_of(text), 40), b = begin(prompt, 20); // at once
    BOOST_TEST(a->wait().tokens.size() == 40u);
    BOOST_TEST(b->wait().tokens.size() == 20u);
  }
  over = true;
  eyes.join();
  BOOST_TEST(most_used <= status().budget_bytes);
  BOOST_TEST(most_copies <= lower.room());
  BOOST_TEST(most_resident <= pinned + plan.cache_bytes + plan.transient_bytes + plan.lower_bytes);
  BOOST_TEST(idle < most_resident);
}

BOOST_AUTO_TEST_CASE(without_the_option_every_answer_is_the_models_own) {
  auto expected = in_memory(prompt, 60);
  BOOST_REQUIRE(serve_with(0).ok());
  BOOST_TEST(!hosted.model->tiered->lower);
  slow_down();
  BOOST_TEST(ask(prompt, 60).tokens == expected, boost::test_tools::per_element());
  auto t = tiering();
  BOOST_TEST(t.lower_type.empty());
  BOOST_TEST(t.lower_rows == 0u);
  BOOST_TEST(lower_uses() == 0u);
}

BOOST_AUTO_TEST_CASE(a_model_of_few_bits_goes_on_without_and_says_so) {
  auto source = *model::open_model(file);
  auto fewer = folder.path / "fewer.gguf";
  auto plan = model::plan_quantisation(*source, dtype::q4_0);
  BOOST_REQUIRE(plan.ok());
  BOOST_REQUIRE(model::quantise_model(*source, *plan, fewer, 1).ok());
  file = read_from = fewer;
  auto expected = in_memory(prompt, 30);
  BOOST_REQUIRE(serve_with(0.5).ok());
  BOOST_REQUIRE_EQUAL(notes.size(), 1u);
  BOOST_TEST(notes.front().find("copies of fewer bits") != std::string::npos);
  BOOST_TEST(hosted.model->tiered->plan.lower_bytes == 0u);
  BOOST_TEST(ask(prompt, 30).tokens == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_disk_that_fails_while_copies_are_made_costs_copies_and_no_answer) {
  BOOST_REQUIRE(serve_with(0.5).ok());
  mood->is([n = std::make_shared<std::atomic<uint32_t>>(0)](int64_t truth) {
    return ++*n % 5 == 0 ? -EIO : truth;
  });
  for (int i = 0; i < 20; ++i) {
    auto got = ask(prompt, 40);
    BOOST_TEST((got.failure.has_value() || got.tokens.size() == 40u));
  }
  mood->is({});
  make_copies(3);
}

BOOST_AUTO_TEST_SUITE_END()
