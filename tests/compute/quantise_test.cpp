#include "compute/quant.hpp"

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace {

using namespace coel;
using compute::dequantise_row;
using compute::quantise_row;

std::vector<float> round_trip(dtype type, const std::vector<float>& x) {
  std::vector<std::byte> packed(row_bytes(type, x.size()));
  quantise_row(type, x.data(), packed.data(), x.size());
  std::vector<float> y(x.size());
  dequantise_row(type, packed.data(), y.data(), y.size());
  return y;
}

double relative_rms_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    power += double{x[i]} * x[i];
  }
  return std::sqrt(error / power);
}

std::vector<float> gaussian(size_t n, float sigma, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> draw(0, sigma);
  std::vector<float> x(n);
  for (auto& v : x)
    v = draw(random);
  return x;
}

struct bound {
  dtype type;
  double gaussian_error; // relative RMS error
  double constant_error; // relative error of a row of one value
};

// For Gaussian rows rounding to nearest with the peak of a block as the end of the grid gives
// peak / steps / sqrt(12); blocks of 32 have a mean peak of 2.2 sigma, of 16 of 2.0 sigma.
constexpr bound bounds[] = {
    {dtype::f32, 0, 0},           {dtype::f16, 0.0003, 0.0005}, {dtype::bf16, 0.002, 0.004},
    {dtype::q8_0, 0.0055, 0.001}, {dtype::q6_k, 0.018, 0.003},  {dtype::q5_k, 0.036, 0.003},
    {dtype::q4_k, 0.073, 0.003},  {dtype::q4_0, 0.088, 0.001},
};

constexpr dtype all_types[] = {dtype::f16,  dtype::bf16, dtype::q8_0, dtype::q4_0,
                               dtype::q4_k, dtype::q5_k, dtype::q6_k};

/// Least squared error of 32 values on a grid scale * q - min, min >= 0, over a fine sweep of the
/// grid's ends: what a search can hope for before scales are packed.
double sweep_error(const float* x, int top) {
  auto [low, high] = std::minmax_element(x, x + 32);
  double least = HUGE_VAL;
  for (int a = 0; a <= 60; ++a)
    for (int b = 0; b <= 60; ++b) {
      double from = std::min<double>(*low * (1.05 - a * 0.005), 0);
      double step = (*high * (1.05 - b * 0.005) - from) / top;
      double error = 0;
      for (int i = 0; i < 32; ++i) {
        double q = std::clamp(std::round((x[i] - from) / step), 0., double(top));
        error += (from + q * step - x[i]) * (from + q * step - x[i]);
      }
      least = std::min(least, error);
    }
  return least;
}

} // namespace

BOOST_AUTO_TEST_SUITE(quantise)

BOOST_AUTO_TEST_CASE(gaussian_rows_keep_their_error_bounds) {
  for (float sigma : {1e-2f, 1.f, 300.f})
    for (const auto& b : bounds) {
      auto x = gaussian(64 * 256, sigma, 7);
      double error = relative_rms_error(x, round_trip(b.type, x));
      BOOST_TEST(error <= b.gaussian_error, to_string(b.type)
                                                << " sigma " << sigma << ": " << error);
      BOOST_TEST(error >= b.gaussian_error / 2, to_string(b.type)
                                                    << " has a slack bound: " << error);
    }
}

BOOST_AUTO_TEST_CASE(k_quants_come_near_the_best_grid) {
  auto x = gaussian(16 * 256, 1, 3);
  for (auto [type, top] : {std::pair{dtype::q4_k, 15}, std::pair{dtype::q5_k, 31}}) {
    auto y = round_trip(type, x);
    double error = 0, best = 0;
    for (size_t i = 0; i < x.size(); ++i)
      error += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    for (size_t i = 0; i < x.size(); i += 32)
      best += sweep_error(&x[i], top);
    BOOST_TEST(error <= 1.12 * best, to_string(type) << ": " << error << " against " << best);
  }
}

BOOST_AUTO_TEST_CASE(offset_rows_use_the_minimum_of_k_quants) {
  auto x = gaussian(4 * 256, 1, 5);
  for (auto& v : x)
    v -= 20;
  BOOST_TEST(relative_rms_error(x, round_trip(dtype::q4_k, x)) < 0.006);
  BOOST_TEST(relative_rms_error(x, round_trip(dtype::q5_k, x)) < 0.004);
}

BOOST_AUTO_TEST_CASE(constant_rows_survive) {
  for (const auto& b : bounds)
    for (float c : {1.f, -1.f, 0.03f, -4000.f}) {
      std::vector<float> x(512, c);
      for (float y : round_trip(b.type, x))
        BOOST_REQUIRE_MESSAGE(std::fabs(y - c) <= b.constant_error * std::fabs(c),
                              to_string(b.type) << ": " << c << " became " << y);
    }
}

BOOST_AUTO_TEST_CASE(zero_rows_stay_zero) {
  for (auto type : all_types)
    for (float y : round_trip(type, std::vector<float>(512, 0.f)))
      BOOST_REQUIRE(y == 0);
}

BOOST_AUTO_TEST_CASE(a_single_spike_is_kept) {
  for (auto type : all_types)
    for (float spike : {5.f, -5.f})
      for (size_t at : {0u, 17u, 31u, 32u, 129u, 255u}) {
        std::vector<float> x(256, 0.f);
        x[at] = spike;
        auto y = round_trip(type, x);
        for (size_t i = 0; i < x.size(); ++i)
          BOOST_REQUIRE_MESSAGE(std::fabs(y[i] - x[i]) < 0.02, to_string(type) << " at " << i);
      }
}

BOOST_AUTO_TEST_CASE(no_input_reads_back_as_nan_or_infinity) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float most = std::numeric_limits<float>::max();
  constexpr float least = std::numeric_limits<float>::denorm_min();
  std::mt19937_64 random(11);
  const float odd[] = {most, -most, least,  -least, inf,   -inf,    std::nanf(""), 0,
                       1,    -1,    1e-20f, 1e20f,  1e-7f, 65504.f, 3e-8f,         -1e-38f};
  for (auto type : all_types) {
    for (float c : odd)
      for (float y : round_trip(type, std::vector<float>(256, c)))
        BOOST_REQUIRE_MESSAGE(std::isfinite(y), to_string(type) << ": " << c << " became " << y);
    for (int run = 0; run < 200; ++run) {
      std::vector<float> x(256);
      for (auto& v : x)
        v = odd[random() % std::size(odd)];
      for (float y : round_trip(type, x))
        BOOST_REQUIRE(std::isfinite(y));
    }
  }
}

BOOST_AUTO_TEST_CASE(tiny_rows_do_not_grow) {
  for (auto type : all_types)
    for (float scale : {1e-6f, 1e-8f, 1e-12f, 1e-40f}) {
      auto x = gaussian(512, scale, 13);
      float peak = 0;
      for (float v : x)
        peak = std::max(peak, std::fabs(v));
      for (float y : round_trip(type, x))
        BOOST_REQUIRE_MESSAGE(std::fabs(y) <= 2 * peak + 1e-45f,
                              to_string(type) << " " << scale << ": " << y << " above " << peak);
    }
}

BOOST_AUTO_TEST_CASE(codes_are_the_nearest_ones) {
  // f16-exact scales, so that the grid is known: q8_0 with d = 1, q4_0 with d = 1.
  std::vector<float> x(32);
  for (int i = 0; i < 32; ++i)
    x[i] = static_cast<float>(i - 16) * 3.3f;
  x[0] = 127;
  auto y = round_trip(dtype::q8_0, x);
  for (int i = 0; i < 32; ++i)
    BOOST_TEST(y[i] == std::round(x[i]));
  for (int i = 0; i < 32; ++i)
    x[i] = static_cast<float>(i - 16) * 0.43f;
  x[5] = -8;
  y = round_trip(dtype::q4_0, x);
  for (int i = 0; i < 32; ++i)
    BOOST_TEST(y[i] == std::floor(x[i] + 0.5f));
}

BOOST_AUTO_TEST_CASE(a_block_does_not_depend_on_its_neighbours) {
  auto x = gaussian(1024, 1, 17);
  for (auto type : all_types) {
    auto whole = round_trip(type, x);
    auto alone = round_trip(type, {x.begin() + 512, x.begin() + 768});
    BOOST_TEST(std::equal(alone.begin(), alone.end(), whole.begin() + 512));
  }
}

BOOST_AUTO_TEST_SUITE_END()
