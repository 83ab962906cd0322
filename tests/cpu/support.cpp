#include "support.hpp"

#include <cstring>
#include <limits>

namespace coel::test {

namespace {

struct scale_field {
  size_t offset; // of an f16 in a block
  float typical; // brings the largest values to about 1
};

/// Scales and minima of a block; the minima such that values are as often negative as positive.
std::vector<scale_field> scale_fields(dtype type) {
  switch (type) {
  case dtype::q8_0:
    return {{0, 1.f / 127}};
  case dtype::q4_0:
    return {{0, 1.f / 8}};
  case dtype::q4_k:
    return {{0, 2.f / (63 * 15)}, {2, 1.f / 63}};
  case dtype::q5_k:
    return {{0, 2.f / (63 * 31)}, {2, 1.f / 63}};
  case dtype::q6_k:
    return {{208, 1.f / (127 * 32)}};
  default:
    return {};
  }
}

void fill_floats(dtype type, std::byte* to, const std::vector<float>& values) {
  for (float x : values) {
    uint16_t half = type == dtype::f16 ? compute::f32_to_f16(x) : compute::f32_to_bf16(x);
    size_t bytes = type == dtype::f32 ? 4 : 2;
    std::memcpy(to, type == dtype::f32 ? static_cast<const void*>(&x) : &half, bytes);
    to += bytes;
  }
}

} // namespace

std::vector<std::string> vector_sets() {
  auto names = cpu::usable_kernels();
  BOOST_REQUIRE(!names.empty() && names.back() == "reference");
  names.pop_back();
  if (names.empty())
    BOOST_TEST_MESSAGE("skipped: this processor has no vector kernels");
  return names;
}

compute::device_ptr make(const std::string& kernels, uint32_t threads, uint64_t budget_bytes) {
  auto dev = cpu::make_device({threads, kernels, budget_bytes, false});
  BOOST_REQUIRE_MESSAGE(dev.ok(), "make_device " << kernels);
  return *dev;
}

std::vector<float> random_values(size_t n, uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.f, spread);
  std::vector<float> values(n);
  for (float& x : values)
    x = draw(random);
  return values;
}

matrix_view random_matrix(dtype type, uint64_t rows, uint64_t cols, uint32_t seed) {
  uint64_t stride = row_bytes(type, cols);
  auto bytes = std::make_shared<std::vector<std::byte>>(rows * stride);
  std::mt19937 random(seed);
  if (!is_quantised(type)) {
    fill_floats(type, bytes->data(), random_values(rows * cols, seed, 0.5f));
  } else {
    for (auto& b : *bytes)
      b = std::byte(random() & 255);
    std::uniform_real_distribution<float> draw(0.2f, 2.f);
    for (size_t at = 0; at < bytes->size(); at += info(type).block_bytes) {
      float factor = draw(random);
      for (auto field : scale_fields(type)) {
        uint16_t scale = compute::f32_to_f16(factor * field.typical);
        std::memcpy(bytes->data() + at + field.offset, &scale, 2);
      }
    }
  }
  return {type, rows, cols, bytes->data(), stride, bytes};
}

compute::weight_ptr load(compute::device& dev, const matrix_view& m, compute::weight_use use) {
  auto w = dev.load(m, use);
  BOOST_REQUIRE_MESSAGE(w.ok(), "load");
  return *w;
}

tensor::tensor(compute::device& dev, uint32_t rows, uint32_t cols)
    : tensor(dev, rows, cols,
             std::vector<float>(size_t{rows} * cols, std::numeric_limits<float>::quiet_NaN())) {}

tensor::tensor(compute::device& dev, uint32_t rows, uint32_t cols, const std::vector<float>& values)
    : on(dev) {
  auto made = dev.allocate(values.size() * sizeof(float));
  BOOST_REQUIRE(made.ok());
  memory = *made;
  view = {memory->f32(), rows, cols};
  dev.write(view.data, values.data(), values.size() * sizeof(float));
}

std::vector<float> tensor::values() const {
  std::vector<float> out(size_t{view.rows} * view.cols);
  on.read(out.data(), view.data, out.size() * sizeof(float));
  return out;
}

void run_all(compute::device& dev, compute::command_list list) {
  auto outcome = compute::run(dev, std::move(list));
  BOOST_REQUIRE_MESSAGE(outcome.ok(), to_string(outcome.ok() ? error{} : outcome.err()));
}

void check_close(const std::vector<float>& got, const std::vector<float>& want,
                 const std::vector<double>& tolerance) {
  BOOST_REQUIRE_EQUAL(got.size(), want.size());
  size_t worst = 0;
  double most = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    double excess = std::abs(double{got[i]} - double{want[i]}) / tolerance[i];
    if (!(excess <= most)) { // also takes NaN
      worst = i;
      most = excess;
      if (std::isnan(excess))
        break;
    }
  }
  BOOST_TEST_MESSAGE("worst error: " << most << " of the tolerance");
  BOOST_TEST(most <= 1.0, "element " << worst << ": " << got[worst] << " instead of " << want[worst]
                                     << ", tolerance " << tolerance[worst]);
}

void check_same(const std::vector<float>& got, const std::vector<float>& want) {
  BOOST_REQUIRE_EQUAL(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &want[i], sizeof(float)) != 0) {
      BOOST_TEST(false, "element " << i << ": " << got[i] << " and " << want[i] << " differ");
      return;
    }
  BOOST_TEST(true);
}

double rounding_variance(const float* w, const float* x, size_t n) {
  double variance = 0;
  for (size_t begin = 0; begin < n; begin += 32) {
    double most = 0;
    double square = 0;
    for (size_t i = begin; i < std::min(begin + 32, n); ++i) {
      most = std::max(most, std::abs(double{x[i]}));
      square += double{w[i]} * double{w[i]};
    }
    double step = most / 127;
    variance += step * step / 12 * square;
  }
  return variance;
}

double float_error(const float* w, const float* x, size_t n) {
  double mass = 0;
  for (size_t i = 0; i < n; ++i)
    mass += std::abs(double{w[i]} * double{x[i]});
  return 2 * static_cast<double>(n) * 0x1p-24 * mass;
}

} // namespace coel::test
