// Random experts, their outputs on a device, and how far two devices may differ.
#pragma once

#include "support.hpp"

namespace coel::test {

struct expert_matrices {
  matrix_view gate, up, down;
};

inline expert_matrices random_expert(dtype type, dtype down, uint32_t hidden, uint32_t ff,
                                     uint32_t seed) {
  return {random_matrix(type, ff, hidden, seed), random_matrix(type, ff, hidden, seed + 1),
          random_matrix(down, hidden, ff, seed + 2)};
}

inline std::shared_ptr<const compute::expert_weights> load_expert(compute::device& dev,
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
inline std::vector<float> run_experts(compute::device& dev,
                                      const std::vector<expert_matrices>& experts,
                                      const std::vector<assignment>& tasks,
                                      const std::vector<float>& x, uint32_t rows) {
  auto hidden = static_cast<uint32_t>(experts[0].gate.cols);
  tensor in(dev, rows, hidden, x);
  tensor out(dev, rows, hidden, std::vector<float>(x.size(), 1.f));
  compute::run_experts op{in.view, {}, out.view};
  for (size_t i = 0; i < experts.size(); ++i)
    op.tasks.push_back({load_expert(dev, experts[i]), tasks[i].rows, tasks[i].weights, nullptr});
  run_all(dev, {op});
  return out.values();
}

inline double dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i)
    sum += double{a[i]} * double{b[i]};
  return sum;
}

/// Tolerance of one expert's output row: the variances of gate and up pass through silu(g) * u by
/// its derivatives, then through down with the rounding of the hidden row; six standard deviations.
inline std::vector<double> expert_tolerance(const expert_matrices& m, const float* x) {
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

inline std::vector<double> tolerances(const std::vector<expert_matrices>& experts,
                                      const std::vector<assignment>& tasks,
                                      const std::vector<float>& x) {
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

} // namespace coel::test
