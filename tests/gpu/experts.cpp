// run_experts against the reference.
#include "devices.hpp"

using namespace coel;
using namespace coel::test;

namespace {

struct expert_matrices {
  matrix_view gate, up, down;
};

expert_matrices random_expert(dtype type, dtype down, uint32_t hidden, uint32_t ff, uint32_t seed) {
  return {random_matrix(type, ff, hidden, seed), random_matrix(type, ff, hidden, seed + 1),
          random_matrix(down, hidden, ff, seed + 2)};
}

std::shared_ptr<const compute::expert_weights> load_expert(compute::device& dev,
                                                           const expert_matrices& m) {
  auto e = std::make_shared<compute::expert_weights>();
  e->gate = load(dev, m.gate);
  e->up = load(dev, m.up);
  e->down = load(dev, m.down);
  return e;
}

struct assignment {
  std::vector<uint32_t> rows;
  std::vector<float> weights;
};

/// Output of the experts over rows of x, starting from ones.
std::vector<float> run_experts(compute::device& dev, const std::vector<expert_matrices>& experts,
                               const std::vector<assignment>& tasks, const std::vector<float>& x,
                               uint32_t rows) {
  auto hidden = static_cast<uint32_t>(experts[0].gate.cols);
  tensor in(dev, rows, hidden, x);
  tensor out(dev, rows, hidden, std::vector<float>(x.size(), 1.f));
  compute::run_experts op{in.view, {}, out.view};
  for (size_t i = 0; i < experts.size(); ++i)
    op.tasks.push_back({load_expert(dev, experts[i]), tasks[i].rows, tasks[i].weights, nullptr});
  run_all(dev, {op});
  return out.values();
}

double dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i)
    sum += double{a[i]} * double{b[i]};
  return sum;
}

/// Tolerance of one expert's output row: the variances of gate and up pass through silu(g) * u by
/// its derivatives, then through down with the rounding of the hidden row; six standard deviations.
std::vector<double> expert_tolerance(const expert_matrices& m, const float* x) {
  auto gate = compute::to_f32(m.gate), up = compute::to_f32(m.up), down = compute::to_f32(m.down);
  size_t hidden = m.gate.cols, ff = m.gate.rows;
  std::vector<float> h(ff);
  std::vector<double> variance(ff), absolute(ff);
  bool rounded = is_quantised(m.gate.type);
  for (size_t j = 0; j < ff; ++j) {
    const float* wg = &gate[j * hidden];
    const float* wu = &up[j * hidden];
    double g = dot(wg, x, hidden), u = dot(wu, x, hidden), s = 1 / (1 + std::exp(-g));
    double by_gate = s * (1 + g * (1 - s)) * u, by_up = g * s;
    h[j] = static_cast<float>(by_up * u);
    if (rounded)
      variance[j] = by_gate * by_gate * rounding_variance(wg, x, hidden) +
                    by_up * by_up * rounding_variance(wu, x, hidden);
    absolute[j] = std::abs(by_gate) * float_error(wg, x, hidden) +
                  std::abs(by_up) * float_error(wu, x, hidden) + 4e-6 * std::abs(double{h[j]});
  }
  std::vector<double> tolerance(hidden);
  for (size_t c = 0; c < hidden; ++c) {
    const float* w = &down[c * ff];
    double v = is_quantised(m.down.type) ? rounding_variance(w, h.data(), ff) : 0;
    double a = float_error(w, h.data(), ff);
    for (size_t j = 0; j < ff; ++j) {
      v += double{w[j]} * double{w[j]} * variance[j];
      a += std::abs(double{w[j]}) * absolute[j];
    }
    tolerance[c] = 6 * std::sqrt(v) + a + 1e-6;
  }
  return tolerance;
}

std::vector<double> tolerances(const std::vector<expert_matrices>& experts,
                               const std::vector<assignment>& tasks, const std::vector<float>& x) {
  size_t hidden = experts[0].gate.cols;
  std::vector<double> sum(x.size(), 1e-6);
  for (size_t i = 0; i < experts.size(); ++i)
    for (size_t k = 0; k < tasks[i].rows.size(); ++k) {
      auto one = expert_tolerance(experts[i], &x[tasks[i].rows[k] * hidden]);
      for (size_t c = 0; c < hidden; ++c)
        sum[tasks[i].rows[k] * hidden + c] += std::abs(double{tasks[i].weights[k]}) * one[c];
    }
  return sum;
}

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
