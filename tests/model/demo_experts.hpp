// The demo model, and what one of its experts computes.
#pragma once

#include "cpu/device.hpp"
#include "model/weights.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <filesystem>

namespace coel::model::test {

inline const std::filesystem::path demo =
    std::filesystem::path(COEL_SOURCE_DIR) / "models/coel-tiny-moe/coel-tiny-moe-q8_0.gguf";

/// What the expert makes of rows that are the same every time.
inline std::vector<float> run_on(compute::device& dev, const expert_ptr& expert) {
  constexpr uint32_t rows = 3;
  uint32_t hidden = expert->gate->cols();
  size_t bytes = size_t{rows} * hidden * sizeof(float);
  auto in = *dev.allocate(bytes), out = *dev.allocate(bytes);
  std::vector<float> x(size_t{rows} * hidden), y(x.size(), 0.f);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
  dev.write(in->data(), x.data(), bytes);
  dev.write(out->data(), y.data(), bytes);
  compute::command_list list;
  list.push_back(compute::run_experts{{in->f32(), rows, hidden},
                                      {{expert, {0, 1, 2}, {1.f, 0.5f, 2.f}, nullptr}},
                                      {out->f32(), rows, hidden}});
  BOOST_REQUIRE(compute::run(dev, std::move(list)).ok());
  dev.read(y.data(), out->data(), bytes);
  return y;
}

} // namespace coel::model::test
