// `coel model --ram --gpu`: where a model's experts would lie.
#include "apps/coel/forecast_card.hpp"
#include "model/source.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>

using namespace coel;
using namespace coel::app;

namespace {

constexpr uint64_t mb = 1'000'000;

model::source_ptr demo() {
  return *model::open_model(std::filesystem::path(COEL_SOURCE_DIR) /
                            "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf");
}

/// The least that a refusal names.
uint64_t least_card(const model::source& from) {
  auto refused = card_forecast_of(from, 1 * mb, 4000 * mb);
  BOOST_REQUIRE(!refused.ok());
  BOOST_TEST((refused.err().code == ec::out_of_memory));
  auto at = refused.err().message.find("--gpu at least ");
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, refused.err().message);
  return std::stoull(refused.err().message.substr(at + 15)) << 20;
}

} // namespace

BOOST_AUTO_TEST_SUITE(forecast_card)

BOOST_AUTO_TEST_CASE(a_refusal_says_how_much_is_needed_and_that_is_enough) {
  auto from = demo();
  auto least = least_card(*from);
  BOOST_TEST(card_forecast_of(*from, least, 4000 * mb).ok());
  BOOST_TEST(!card_forecast_of(*from, least - 2 * (1 << 20), 4000 * mb).ok());
  auto memory = card_forecast_of(*from, least, mb);
  BOOST_REQUIRE(!memory.ok());
  BOOST_TEST(memory.err().message.find("--ram") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(every_expert_lies_somewhere) {
  auto from = demo();
  auto least = least_card(*from);
  uint64_t before = 0;
  for (uint64_t more = 0; more <= 12 * mb; more += mb / 2)
    for (uint64_t ram : {120 * mb, 4000 * mb}) {
      auto f = card_forecast_of(*from, least + more, ram);
      BOOST_REQUIRE_MESSAGE(f.ok(), (f.ok() ? "" : f.err().message));
      BOOST_TEST(f->card.experts + f->in_memory + f->on_disk == f->experts);
      BOOST_TEST(f->card.experts >= before);
      if (ram == 4000 * mb)
        BOOST_TEST(f->on_disk == 0u);
      before = f->card.experts;
    }
  BOOST_TEST(before == uint64_t{from->config().layers} * from->config().experts);
}

BOOST_AUTO_TEST_CASE(it_tells_of_memory_and_promises_no_speed) {
  auto from = demo();
  auto least = least_card(*from);
  auto f = *card_forecast_of(*from, least + 3 * mb, 4000 * mb);
  BOOST_REQUIRE((f.card.experts > 0 && f.in_memory > 0));
  auto text = text_of(f);
  BOOST_TEST(text.find("on a card of ") == 0u);
  BOOST_TEST(text.find(std::to_string(f.card.experts) + " of " + std::to_string(f.experts)) !=
             std::string::npos);
  BOOST_TEST(text.find(std::to_string(f.in_memory) + " of " + std::to_string(f.experts)) !=
             std::string::npos);
  BOOST_TEST(text.find("tokens/s") == std::string::npos);
  auto json = as_json(f);
  BOOST_TEST(json.at("experts_on_card") == f.card.experts);
  BOOST_TEST(!json.contains("tokens_per_s"));
  auto all = text_of(*card_forecast_of(*from, 4000 * mb, 4000 * mb));
  BOOST_TEST(all.find("all experts are on the card") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
