// Logits, chosen experts and greedy continuations of the random fixtures against another engine's,
// for every kernel set. Tolerances: shared/fixtures/README.md.
#include "cpu/device.hpp"
#include "model/runner.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

using namespace coel;

namespace {

/// A file beside this test, or in the larger collection that not every checkout has.
std::filesystem::path file_of(const std::string& name) {
  auto here = std::filesystem::path(COEL_SOURCE_DIR) / "tests/golden/data" / name;
  return std::filesystem::exists(here) ? here
                                       : std::filesystem::path(COEL_SHARED_DIR) / "fixtures" / name;
}

struct fixture {
  std::string name;
  double tolerance; // rms, activations quantised where the weights are
};
const std::vector<fixture> all{
    {"nano-random-qwen2moe-f16", 0.01},  {"nano-random-qwen2moe-q8_0", 0.15},
    {"nano-random-qwen2moe-q4_0", 0.15}, {"k256-random-qwen2moe-q4_k_m", 0.15},
    {"nano-random-qwen3moe-f16", 0.01},  {"nano-random-mixtral-f16", 0.01},
    {"nano-random-olmoe-f16", 0.01}};

std::vector<fixture> present() {
  std::vector<fixture> found;
  for (const auto& f : all)
    if (std::filesystem::exists(file_of(f.name + ".gguf")))
      found.push_back(f);
    else
      BOOST_TEST_MESSAGE("skipped: " << file_of(f.name + ".gguf") << " is not here");
  BOOST_REQUIRE(found.size() >= 4); // one of each family lies beside this test
  return found;
}

std::vector<float> read_floats(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<float> values(std::filesystem::file_size(path) / sizeof(float));
  in.read(reinterpret_cast<char*>(values.data()),
          static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

template <class T>
void require(const result<T>& r) {
  BOOST_REQUIRE_MESSAGE(r.ok(), (r.ok() ? std::string() : r.err().message));
}

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::unique_ptr<model::runner> make_runner(const fixture& f, const std::string& kernels) {
  auto source = model::open_model(file_of(f.name + ".gguf"));
  require(source);
  auto device = cpu::make_device({2, kernels, 0, false});
  require(device);
  auto made = model::runner::load(*source, *device, {256, 64, 16});
  require(made);
  return std::move(*made);
}

void check_logits(model::runner& run, const fixture& f, double tolerance,
                  const nlohmann::json& about) {
  auto want = read_floats(file_of(f.name + ".logits-ref.f32"));
  auto prompt = about.at("prompt_ids").get<std::vector<int32_t>>();
  size_t vocab = run.config().vocab;
  BOOST_REQUIRE_EQUAL(want.size(), prompt.size() * vocab);
  double squares = 0, worst = 0;
  size_t rows = 0;
  auto fed = run.feed_all(prompt, [&](uint32_t position, std::span<const float> got) {
    BOOST_REQUIRE_EQUAL(position, rows++);
    for (size_t i = 0; i < vocab; ++i) {
      double d = double{got[i]} - want[position * vocab + i];
      squares += d * d;
      worst = std::max(worst, std::abs(d));
    }
  });
  require(fed);
  double rms = std::sqrt(squares / static_cast<double>(want.size()));
  BOOST_TEST_MESSAGE(f.name << ": rms " << rms << ", worst " << worst);
  BOOST_TEST(rms < tolerance);
}

/// Greedy tokens are equal for as long as every gap so far was clear; each row is fed on its own.
void check_greedy(model::runner& run, const nlohmann::json& about) {
  auto prompt = about.at("prompt_ids").get<std::vector<int32_t>>();
  auto want = about.at("greedy_32").get<std::vector<int32_t>>();
  auto gaps = about.at("greedy_gap").get<std::vector<double>>();
  run.reset();
  auto logits = run.feed(prompt);
  size_t compared = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    BOOST_REQUIRE(logits.ok());
    if (gaps[i] > 0.5) {
      BOOST_TEST(likeliest(*logits) == want[i], "token " << i);
      ++compared;
    }
    logits = run.feed(std::span(&want[i], 1));
  }
  BOOST_TEST(compared > 3u);
}

} // namespace

BOOST_AUTO_TEST_SUITE(golden_fixtures)

BOOST_AUTO_TEST_CASE(logits_and_greedy_tokens) {
  for (const auto& kernels : cpu::usable_kernels())
    for (const auto& f : present())
      BOOST_TEST_CONTEXT(f.name << " with " << kernels) {
        auto about = nlohmann::json::parse(std::ifstream(file_of(f.name + ".json")));
        auto run = make_runner(f, kernels);
        check_logits(*run, f, kernels == "reference" ? 0.01 : f.tolerance, about);
        check_greedy(*run, about);
      }
}

BOOST_AUTO_TEST_CASE(a_prompt_in_slices_gives_the_same_bits) {
  for (const auto& kernels : cpu::usable_kernels())
    for (const auto& f : present())
      BOOST_TEST_CONTEXT(f.name << " with " << kernels) {
        auto about = nlohmann::json::parse(std::ifstream(file_of(f.name + ".json")));
        auto prompt = about.at("prompt_ids").get<std::vector<int32_t>>();
        auto run = make_runner(f, kernels);
        auto whole = run->feed(prompt);
        BOOST_REQUIRE(whole.ok());
        std::vector<float> want(whole->begin(), whole->end());
        run->reset();
        result<std::span<const float>> last{std::span<const float>{}};
        for (size_t i = 0; i < prompt.size(); i += i % 3 + 1)
          last = run->feed(std::span(prompt).subspan(i, std::min(i % 3 + 1, prompt.size() - i)));
        BOOST_REQUIRE(last.ok());
        BOOST_TEST(std::equal(want.begin(), want.end(), last->begin()));
      }
}

BOOST_AUTO_TEST_SUITE_END()
