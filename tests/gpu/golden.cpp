// Whole models: logits of the random fixtures against another engine's, and prompts in slices.
#include "devices.hpp"
#include "model/runner.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace coel;
using namespace coel::test;

namespace {

struct fixture {
  std::string name;
  double tolerance;   // rms: tests/golden/fixture_logits.cpp
  bool usual = false; // sliced even where time is short
};
const std::vector<fixture> all{
    {"nano-random-qwen2moe-f16", 0.01},       {"nano-random-qwen2moe-q4_0", 0.15, true},
    {"nano-random-qwen2moe-q8_0", 0.15},      {"k256-random-qwen2moe-q4_k_m", 0.15},
    {"nano-random-qwen3moe-f16", 0.01, true}, {"nano-random-mixtral-f16", 0.01},
    {"nano-random-olmoe-f16", 0.01}};

/// A file beside the other golden tests (or where COEL_GOLDEN_DIR says, on a machine without the
/// sources), or in the larger collection that not every checkout has.
std::filesystem::path file_of(const std::string& name) {
  const char* elsewhere = std::getenv("COEL_GOLDEN_DIR");
  auto here = (elsewhere ? std::filesystem::path(elsewhere)
                         : std::filesystem::path(COEL_SOURCE_DIR) / "tests/golden/data") /
              name;
  return std::filesystem::exists(here) ? here
                                       : std::filesystem::path(COEL_SHARED_DIR) / "fixtures" / name;
}

std::vector<fixture> present() {
  std::vector<fixture> found;
  for (const auto& f : all)
    if (std::filesystem::exists(file_of(f.name + ".gguf")))
      found.push_back(f);
  if (found.size() < all.size())
    BOOST_TEST_MESSAGE("skipped: " << all.size() - found.size() << " fixtures are not here");
  return found;
}

std::unique_ptr<model::runner> make_runner(const fixture& f, const compute::device_ptr& on) {
  auto source = model::open_model(file_of(f.name + ".gguf"));
  BOOST_REQUIRE(source.ok());
  auto made = model::runner::load(*source, on, {256, 64, 16});
  BOOST_REQUIRE_MESSAGE(made.ok(), (made.ok() ? std::string() : made.err().message));
  return std::move(*made);
}

std::vector<int32_t> prompt_of(const fixture& f) {
  return nlohmann::json::parse(std::ifstream(file_of(f.name + ".json")))
      .at("prompt_ids")
      .get<std::vector<int32_t>>();
}

std::vector<float> read_floats(const std::filesystem::path& path) {
  std::vector<float> values(std::filesystem::file_size(path) / sizeof(float));
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_golden)

BOOST_AUTO_TEST_CASE(logits_of_the_fixtures) {
  for (auto& d : devices())
    for (const auto& f : present())
      BOOST_TEST_CONTEXT(f.name << " on " << d.name) {
        auto run = make_runner(f, d.device);
        auto want = read_floats(file_of(f.name + ".logits-ref.f32"));
        size_t vocab = run->config().vocab;
        double squares = 0;
        auto fed = run->feed_all(prompt_of(f), [&](uint32_t at, std::span<const float> got) {
          for (size_t i = 0; i < vocab; ++i)
            squares += std::pow(double{got[i]} - want.at(at * vocab + i), 2);
        });
        BOOST_REQUIRE_MESSAGE(fed.ok(), (fed.ok() ? std::string() : fed.err().message));
        double rms = std::sqrt(squares / static_cast<double>(want.size()));
        BOOST_TEST_MESSAGE(f.name << " on " << d.name << ": rms " << rms);
        BOOST_TEST(rms < f.tolerance);
      }
}

BOOST_AUTO_TEST_CASE(a_prompt_in_slices_gives_the_same_bits) {
  for (auto& d : devices())
    for (const auto& f : present()) {
      if (!f.usual && !takes_all(d))
        continue;
      BOOST_TEST_CONTEXT(f.name << " on " << d.name) {
        auto prompt = prompt_of(f);
        auto run = make_runner(f, d.device);
        auto whole = run->feed(prompt);
        BOOST_REQUIRE(whole.ok());
        std::vector<float> want(whole->begin(), whole->end());
        run->reset();
        std::span<const int32_t> left = prompt;
        std::vector<float> got;
        for (size_t n = 1; !left.empty(); n = n * 3 + 1) {
          auto logits = run->feed(left.first(std::min(n, left.size())));
          BOOST_REQUIRE(logits.ok());
          got.assign(logits->begin(), logits->end());
          left = left.subspan(std::min(n, left.size()));
        }
        check_same(got, want);
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
