#include "bench/machine.hpp"
#include "model/random_model_rows.hpp"

#include <algorithm>
#include <vector>

namespace coel::bench {

namespace {

constexpr double part_us = 400e3;

/// A random q4_0 matrix on the device.
result<compute::weight_ptr> random_weight(compute::device& on, uint64_t rows, uint64_t cols) {
  auto bytes = std::make_shared<std::vector<std::byte>>(rows * row_bytes(dtype::q4_0, cols));
  model::random_bits random(1);
  model::draw_row(dtype::q4_0, random, 0.02f, bytes->data(), rows * cols);
  compute::matrix_view view{dtype::q4_0, rows, cols, bytes->data(), row_bytes(dtype::q4_0, cols),
                            bytes};
  return on.load(view, compute::weight_use::project);
}

/// Best time of a projection of `rows` rows, in seconds of the device's own work.
result<double> best_project_s(compute::device& on, const compute::weight& w, uint32_t rows) {
  auto in = on.allocate(size_t{rows} * w.cols() * sizeof(float));
  if (!in)
    return in.err();
  auto out = on.allocate(size_t{rows} * w.rows() * sizeof(float));
  if (!out)
    return out.err();
  std::vector<float> values(size_t{rows} * w.cols());
  model::random_bits random(2);
  model::draw_gaussian(random, values.data(), values.size());
  on.write((*in)->data(), values.data(), values.size() * sizeof(float));
  double best = 1e9, spent = 0;
  for (int run = 0; run < 3 || spent < part_us; ++run) {
    auto before = on.status().busy_us;
    compute::command_list list;
    list.push_back(compute::project{{(*in)->f32(), rows, w.cols()},
                                    {{&w, nullptr, {(*out)->f32(), rows, w.rows()}, false}}});
    if (auto ok = compute::run(on, std::move(list)); !ok)
      return ok.err();
    auto us = static_cast<double>(std::max<uint64_t>(on.status().busy_us - before, 1));
    spent += us;
    best = std::min(best, us);
  }
  return best / 1e6;
}

} // namespace

result<kernel_limits> measure_kernels(compute::device& on) {
  kernel_limits k;
  constexpr uint64_t rows_there = 1 << 17, cols = 4096; // 302 MB
  auto large = random_weight(on, rows_there, cols);
  if (!large)
    return large.err();
  for (uint32_t rows : {1, 2, 3, 4, 8}) {
    auto s = best_project_s(on, **large, rows);
    if (!s)
      return s.err();
    k.batches.push_back({rows,
                         static_cast<double>(rows_there * row_bytes(dtype::q4_0, cols)) / *s / 1e9,
                         static_cast<double>(rows * rows_there * cols) / *s / 1e9});
  }
  k.read_gb_s = k.batches.front().read_gb_s;
  auto small = random_weight(on, 1408, 2048);
  if (!small)
    return small.err();
  auto seconds = best_project_s(on, **small, 512);
  if (!seconds)
    return seconds.err();
  k.multiply_adds_g_s = 512. * 1408 * 2048 / *seconds / 1e9;
  return k;
}

} // namespace coel::bench
