// run_experts against the reference.
#include "../cpu/expert_cases.hpp"
#include "devices.hpp"

using namespace coel;
using namespace coel::test;

namespace {

void compare(compute::device& dev, dtype type, dtype down, uint32_t hidden, uint32_t ff,
             dtype up = dtype::f32, bool other_up = false) {
  BOOST_TEST_CONTEXT(dev.status().name << ' ' << to_string(type) << " hidden " << hidden << " ff "
                                       << ff) {
    std::vector<expert_matrices> experts;
    for (uint32_t i = 0; i < 3; ++i) {
      experts.push_back(random_expert(type, down, hidden, ff, 100 * i + ff));
      if (other_up)
        experts.back().up = random_matrix(up, ff, hidden, 100 * i + ff + 1);
    }
    // The middle one has no rows; row 4 has two experts, row 2 none.
    std::vector<assignment> tasks{
        {{0, 1, 3, 4}, {0.5f, -1.f, 0.25f, 1.f}}, {{}, {}}, {{4, 5}, {2.f, 0.f}}};
    auto x = random_values(size_t{6} * hidden, 9, 0.3f);
    auto want = run_experts(*reference(), experts, tasks, x, 6);
    auto got = run_experts(dev, experts, tasks, x, 6);
    check_close(got, want, tolerances(experts, tasks, x));
    for (uint32_t c = 0; c < hidden; ++c)
      BOOST_REQUIRE_EQUAL(got[2 * hidden + c], 1.f);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_experts)

BOOST_AUTO_TEST_CASE(every_type_agrees_with_the_reference) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    for (dtype type : all_dtypes) {
      uint32_t step = std::max(32u, info(type).block_elements);
      compare(dev, type, type, 2 * step, step);
      compare(dev, type, type, step, 3 * step);
    }
    compare(dev, dtype::f32, dtype::f32, 20, 17);
    compare(dev, dtype::f16, dtype::bf16, 33, 49);
    compare(dev, dtype::q4_k, dtype::q6_k, 256, 512);
    compare(dev, dtype::q4_0, dtype::f16, 64, 48);
    compare(dev, dtype::f32, dtype::q8_0, 32, 96);
    compare(dev, dtype::q4_0, dtype::q4_0, 64, 96, dtype::q8_0, true);
  }
}

BOOST_AUTO_TEST_CASE(a_card_agrees_at_the_sizes_of_models) {
  auto card = card_or_skip();
  if (!card)
    return;
  compare(*card, dtype::q4_0, dtype::q4_0, 2048, 1408);
  compare(*card, dtype::q4_k, dtype::q6_k, 2048, 768);
}

BOOST_AUTO_TEST_CASE(experts_of_different_widths_and_types_run_together) {
  for (auto& d : devices()) {
    std::vector<expert_matrices> experts{random_expert(dtype::q4_0, dtype::q8_0, 64, 32, 1),
                                         random_expert(dtype::f16, dtype::f32, 64, 96, 2),
                                         random_expert(dtype::q8_0, dtype::q4_0, 64, 96, 3)};
    std::vector<assignment> tasks{
        {{0, 1}, {1.f, 2.f}}, {{1, 2}, {0.5f, -1.f}}, {{0, 2}, {1.f, 3.f}}};
    auto x = random_values(3 * 64, 4, 0.3f);
    check_close(run_experts(*d.device, experts, tasks, x, 3),
                run_experts(*reference(), experts, tasks, x, 3), tolerances(experts, tasks, x));
  }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_its_company) {
  for (auto& d : devices())
    for (dtype type : {dtype::f32, dtype::q4_0, dtype::q6_k}) {
      uint32_t hidden = 256, rows = 21;
      std::vector<expert_matrices> experts{random_expert(type, type, hidden, 256, 1),
                                           random_expert(type, type, hidden, 512, 2)};
      std::vector<assignment> tasks(2);
      for (uint32_t r = 0; r < rows; ++r)
        for (uint32_t e = 0; e < 2; ++e)
          if (r % 3 != e) {
            tasks[e].rows.push_back(r);
            tasks[e].weights.push_back(0.1f * static_cast<float>(r + e));
          }
      auto x = random_values(size_t{rows} * hidden, 3);
      auto whole = run_experts(*d.device, experts, tasks, x, rows);
      for (uint32_t r : {0u, 1u, 13u, 20u}) {
        std::vector<assignment> alone(2);
        for (uint32_t e = 0; e < 2; ++e)
          if (r % 3 != e)
            alone[e] = {{0}, {0.1f * static_cast<float>(r + e)}};
        std::vector<float> row(x.begin() + r * hidden, x.begin() + (r + 1) * hidden);
        std::vector<float> want(whole.begin() + r * hidden, whole.begin() + (r + 1) * hidden);
        check_same(run_experts(*d.device, experts, alone, row, 1), want);
      }
    }
}

BOOST_AUTO_TEST_CASE(factors_may_lie_on_the_device) {
  for (auto& d : devices()) {
    auto& dev = *d.device;
    auto m = random_expert(dtype::q8_0, dtype::q8_0, 64, 32, 5);
    auto x = random_values(3 * 64, 6);
    auto want = run_experts(dev, {m}, {{{0, 2}, {0.5f, 3.f}}}, x, 3);
    tensor in(dev, 3, 64, x), out(dev, 3, 64, std::vector<float>(3 * 64, 1.f));
    tensor factors(dev, 3, 1, {0.5f, 7.f, 3.f});
    run_all(dev, {compute::run_experts{
                     in.view, {{load_expert(dev, m), {0, 2}, {}, factors.view.data}}, out.view}});
    check_same(out.values(), want);
  }
}

BOOST_AUTO_TEST_SUITE_END()
