// Lists that come again run as graphs, with the same bits; one that differs in anything does not.
#include "gpu/graphs.hpp"

#include "devices.hpp"
#include "model/runner.hpp"

#include <filesystem>

using namespace coel;
using namespace coel::test;

namespace {

struct pair_of {
  std::shared_ptr<gpu::emulated_control> control = std::make_shared<gpu::emulated_control>();
  compute::device_ptr with = gpu::make_device(gpu::make_emulated_card({}, control), 0, true);
  compute::device_ptr without = gpu::make_device(gpu::make_emulated_card({}), 0, false);
};

gpu::step launch_of(uint32_t blocks, float* x) {
  gpu::step s;
  s.what = gpu::kernel::sigmoid;
  s.blocks = {blocks, 1, 1};
  gpu::elements_args args{x, x, 4};
  std::memcpy(s.args.data(), &args, sizeof args);
  return s;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_graphs)

BOOST_AUTO_TEST_CASE(a_graph_is_made_when_steps_come_again_exactly) {
  auto control = std::make_shared<gpu::emulated_control>();
  gpu::graph_cache cache(gpu::make_emulated_card({}, control), 12);
  float x[8]{};
  std::vector<gpu::step> steps{launch_of(1, x), launch_of(1, x + 1), launch_of(2, x)};
  auto graph = [&](const std::vector<gpu::step>& s) {
    auto found = cache.find(s);
    BOOST_REQUIRE(found.ok());
    return *found;
  };
  BOOST_TEST(!graph(steps));
  auto first = graph(steps);
  BOOST_TEST(first != nullptr);
  BOOST_TEST(graph(steps) == first);
  auto other = steps;
  other[2] = launch_of(3, x);
  BOOST_TEST(!graph(other));
  other = steps;
  other[1] = launch_of(1, x + 2);
  BOOST_TEST(!graph(other));
  other = steps;
  other[0].what = gpu::kernel::add;
  BOOST_TEST(!graph(other));
  other = steps;
  other.pop_back();
  BOOST_TEST(!graph(other)); // too short to pay
  BOOST_TEST(!graph(other));
  BOOST_TEST(control->graphs == 1u);
  // more than it keeps: none is wrong, and those used last stay
  for (uint32_t n = 10; n < 30; ++n) {
    other = steps;
    other[0] = launch_of(n, x);
    BOOST_TEST(!graph(other));
    BOOST_TEST(graph(other) != nullptr);
    BOOST_TEST(graph(other) != nullptr);
  }
  BOOST_TEST(control->graphs == 21u);
}

BOOST_AUTO_TEST_CASE(decoding_with_graphs_gives_the_bits_of_launches) {
  auto file =
      std::filesystem::path(COEL_SOURCE_DIR) / "tests/golden/data/nano-random-qwen2moe-q4_0.gguf";
  if (const char* elsewhere = std::getenv("COEL_GOLDEN_DIR"))
    file = std::filesystem::path(elsewhere) / file.filename();
  auto source = model::open_model(file);
  BOOST_REQUIRE(source.ok());
  pair_of p;
  std::vector<std::vector<float>> got[2];
  for (int i = 0; i < 2; ++i) {
    auto run = model::runner::load(*source, i ? p.with : p.without, {64, 16, 4});
    BOOST_REQUIRE(run.ok());
    std::vector<int32_t> prompt{5, 9, 13};
    for (int token = 0; token < 7; ++token) {
      auto logits = (*run)->feed(prompt);
      BOOST_REQUIRE(logits.ok());
      got[i].emplace_back(logits->begin(), logits->end());
      prompt = {
          static_cast<int32_t>(std::max_element(logits->begin(), logits->end()) - logits->begin())};
    }
  }
  for (size_t t = 0; t < got[0].size(); ++t)
    check_same(got[1][t], got[0][t]);
  BOOST_TEST(p.control->replays > 10u);
  BOOST_TEST_MESSAGE(p.control->graphs << " graphs, started " << p.control->replays << " times");
}

BOOST_AUTO_TEST_SUITE_END()
