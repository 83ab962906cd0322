// Conversions and block formats, against arithmetic written out by hand.
#include "compute/quant.hpp"

#include <boost/test/unit_test.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace coel;
using namespace coel::compute;

namespace {

using bytes = std::vector<std::byte>;

void put_half(bytes& b, size_t at, float x) {
  uint16_t bits = f32_to_f16(x);
  std::memcpy(&b[at], &bits, 2);
}

std::vector<float> values(dtype type, const bytes& block) {
  std::vector<float> out(info(type).block_elements);
  dequantise_row(type, block.data(), out.data(), out.size());
  return out;
}

bytes block_of(dtype type) {
  return bytes(info(type).block_bytes);
}

} // namespace

BOOST_AUTO_TEST_SUITE(compute_quant)

BOOST_AUTO_TEST_CASE(every_half_survives_the_way_to_float_and_back) {
  for (uint32_t i = 0; i < 65536; ++i) {
    auto bits = static_cast<uint16_t>(i);
    float x = f16_to_f32(bits);
    if ((bits & 0x7fff) > 0x7c00) {
      BOOST_REQUIRE(std::isnan(x));
      BOOST_REQUIRE(std::isnan(f16_to_f32(f32_to_f16(x))));
    } else {
      BOOST_REQUIRE_EQUAL(f32_to_f16(x), bits);
    }
    float y = bf16_to_f32(bits);
    if (!std::isnan(y))
      BOOST_REQUIRE_EQUAL(f32_to_bf16(y), bits);
    else
      BOOST_REQUIRE(std::isnan(bf16_to_f32(f32_to_bf16(y))));
  }
}

BOOST_AUTO_TEST_CASE(known_halves) {
  BOOST_TEST(f16_to_f32(0x3c00) == 1.f);
  BOOST_TEST(f16_to_f32(0xc000) == -2.f);
  BOOST_TEST(f16_to_f32(0x7bff) == 65504.f);
  BOOST_TEST(f16_to_f32(0x0001) == 0x1p-24f);
  BOOST_TEST(std::signbit(f16_to_f32(0x8000)));
  BOOST_TEST(std::isinf(f16_to_f32(0x7c00)));
  BOOST_TEST(f32_to_f16(65519.f) == 0x7bff);
  BOOST_TEST(f32_to_f16(65520.f) == 0x7c00);
  BOOST_TEST(f32_to_f16(-1e30f) == 0xfc00);
  BOOST_TEST(f32_to_f16(0x1p-25f) == 0);
  BOOST_TEST(f32_to_f16(0x1.8p-25f) == 1);
}

/// The result is the nearest of the two neighbours, and of two as near the even one.
BOOST_AUTO_TEST_CASE(rounding_is_to_nearest_even) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> exponent(-26.f, 16.f);
  for (int i = 0; i < 100000; ++i) {
    float x = std::exp2(exponent(random));
    if (i % 4 == 0) { // exactly between two halves
      auto below = static_cast<uint16_t>(random() % 0x7bff);
      x = (f16_to_f32(below) + f16_to_f32(static_cast<uint16_t>(below + 1))) / 2;
    }
    if (x >= 65504.f)
      continue;
    uint16_t h = f32_to_f16(x);
    double error = std::abs(double{f16_to_f32(h)} - double{x});
    auto up = static_cast<uint16_t>(h + 1);
    double above = std::abs(double{f16_to_f32(up)} - double{x});
    BOOST_REQUIRE(error < above || (error == above && h % 2 == 0));
    if (h > 0) {
      double below = std::abs(double{f16_to_f32(static_cast<uint16_t>(h - 1))} - double{x});
      BOOST_REQUIRE(error < below || (error == below && h % 2 == 0));
    }
  }
  BOOST_TEST(f32_to_bf16(std::bit_cast<float>(0x3f808000u)) == 0x3f80);
  BOOST_TEST(f32_to_bf16(std::bit_cast<float>(0x3f818000u)) == 0x3f82);
  BOOST_TEST(f32_to_bf16(std::bit_cast<float>(0x3f808001u)) == 0x3f81);
  BOOST_TEST(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
}

BOOST_AUTO_TEST_CASE(q8_0_block) {
  auto b = block_of(dtype::q8_0);
  put_half(b, 0, 0.5f);
  for (int i = 0; i < 32; ++i)
    b[static_cast<size_t>(2 + i)] = std::byte(static_cast<uint8_t>(8 * i - 128));
  auto v = values(dtype::q8_0, b);
  for (int i = 0; i < 32; ++i)
    BOOST_TEST(v[static_cast<size_t>(i)] == 0.5f * static_cast<float>(8 * i - 128));
}

BOOST_AUTO_TEST_CASE(q4_0_block) {
  auto b = block_of(dtype::q4_0);
  put_half(b, 0, -2.f);
  for (int i = 0; i < 16; ++i)
    b[static_cast<size_t>(2 + i)] = std::byte(i | (15 - i) << 4);
  auto v = values(dtype::q4_0, b);
  for (int i = 0; i < 16; ++i) {
    BOOST_TEST(v[static_cast<size_t>(i)] == -2.f * static_cast<float>(i - 8));
    BOOST_TEST(v[static_cast<size_t>(16 + i)] == -2.f * static_cast<float>(7 - i));
  }
}

/// Scales 1..8 times 7 and minima 60 - 5j of the eight sub-blocks, packed in six bits each.
BOOST_AUTO_TEST_CASE(q4_k_and_q5_k_blocks) {
  for (dtype type : {dtype::q4_k, dtype::q5_k}) {
    bool five = type == dtype::q5_k;
    auto b = block_of(type);
    put_half(b, 0, 0.25f);
    put_half(b, 2, 3.f);
    int scale[8], min[8];
    for (int j = 0; j < 8; ++j) {
      scale[j] = 7 * (j + 1);
      min[j] = 60 - 5 * j;
    }
    for (size_t j = 0; j < 4; ++j) {
      b[4 + j] = std::byte(scale[j] | (scale[j + 4] >> 4) << 6);
      b[8 + j] = std::byte(min[j] | (min[j + 4] >> 4) << 6);
      b[12 + j] = std::byte((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
    auto code = [&](int j, int i) { return (5 * i + 3 * j) % (five ? 32 : 16); };
    for (int j = 0; j < 8; ++j)
      for (int i = 0; i < 32; ++i) {
        size_t nibble = static_cast<size_t>((five ? 48 : 16) + j / 2 * 32 + i);
        b[nibble] |= std::byte((code(j, i) & 15) << (j % 2 * 4));
        if (five)
          b[static_cast<size_t>(16 + i)] |= std::byte((code(j, i) >> 4) << j);
      }
    auto v = values(type, b);
    for (int j = 0; j < 8; ++j)
      for (int i = 0; i < 32; ++i)
        BOOST_TEST(v[static_cast<size_t>(32 * j + i)] ==
                   0.25f * static_cast<float>(scale[j] * code(j, i)) -
                       3.f * static_cast<float>(min[j]));
  }
}

BOOST_AUTO_TEST_CASE(q6_k_block) {
  auto b = block_of(dtype::q6_k);
  put_half(b, 208, 0.125f);
  auto code = [](int e) { return (11 * e + e / 32) % 64; };
  auto scale = [](int sub) { return 9 * sub - 70; };
  for (int sub = 0; sub < 16; ++sub)
    b[static_cast<size_t>(192 + sub)] = std::byte(static_cast<uint8_t>(scale(sub)));
  for (int e = 0; e < 256; ++e) {
    int half = e / 128, part = e % 128 / 32, i = e % 32;
    b[static_cast<size_t>(64 * half + part % 2 * 32 + i)] |=
        std::byte((code(e) & 15) << (part / 2 * 4));
    b[static_cast<size_t>(128 + 32 * half + i)] |= std::byte((code(e) >> 4) << (2 * part));
  }
  auto v = values(dtype::q6_k, b);
  for (int e = 0; e < 256; ++e)
    BOOST_TEST(v[static_cast<size_t>(e)] ==
               0.125f * static_cast<float>(scale(e / 16) * (code(e) - 32)));
}

BOOST_AUTO_TEST_CASE(float_rows_and_strided_matrices) {
  std::vector<float> x{1.f, -2.5f, 3.f, 4.f, 5.f, 6.f};
  auto* raw = reinterpret_cast<const std::byte*>(x.data());
  matrix_view m{dtype::f32, 2, 3, raw, 12, nullptr};
  BOOST_TEST(to_f32(m) == x, boost::test_tools::per_element());
  BOOST_TEST(to_f32(m.col_slice(1, 2)) == (std::vector<float>{-2.5f, 3.f, 5.f, 6.f}),
             boost::test_tools::per_element());
  BOOST_TEST(to_f32(m.row_slice(1, 1)) == (std::vector<float>{4.f, 5.f, 6.f}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_bits_are_valid) {
  std::mt19937 random(9);
  for (size_t t = 0; t < dtype_count; ++t) {
    auto type = static_cast<dtype>(t);
    bytes row(row_bytes(type, 512));
    for (auto& b : row)
      b = std::byte(random() & 255);
    std::vector<float> out(512 + 1, 1234.f);
    dequantise_row(type, row.data(), out.data(), 512);
    BOOST_TEST(out[512] == 1234.f);
  }
}

BOOST_AUTO_TEST_SUITE_END()
