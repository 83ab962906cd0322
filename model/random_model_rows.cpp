#include "model/random_model_rows.hpp"

#include "compute/quant.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace coel::model {

namespace {

/// Mean peak of 32 and of 16 standard normal values: what a block's grid has to reach.
constexpr float peak_32 = 2.24f;
constexpr float peak_16 = 1.98f;

/// Upper half of the normal distribution's inverse, by Newton's method on erfc from zero.
double upper_quantile(double p) {
  double z = 0;
  for (int i = 0; i < 60; ++i) {
    double tail = 0.5 * std::erfc(z / std::sqrt(2.));
    double density = std::exp(-z * z / 2) / std::sqrt(2 * M_PI);
    z += std::clamp((tail - (1 - p)) / density, -0.5, 0.5);
  }
  return z;
}

/// Quantiles in the middle of 2^bits equal parts of the normal distribution.
template <int Bits>
const std::array<float, 1 << Bits>& quantiles() {
  static const auto table = [] {
    constexpr int n = 1 << Bits;
    std::array<float, n> t{};
    for (int i = n / 2; i < n; ++i) {
      t[i] = static_cast<float>(upper_quantile((i + 0.5) / n));
      t[n - 1 - i] = -t[i];
    }
    return t;
  }();
  return table;
}

/// Codes of Gaussian values on the grid centre + z * steps, by eight random bits.
using code_table = std::array<uint8_t, 256>;
code_table make_codes(float centre, float steps, int low, int high) {
  code_table t{};
  for (int i = 0; i < 256; ++i) {
    auto code = static_cast<int>(std::floor(centre + quantiles<8>()[i] * steps + 0.5f));
    t[i] = static_cast<uint8_t>(std::clamp(code, low, high));
  }
  return t;
}

void draw_codes(const code_table& table, random_bits& random, uint8_t* out, int n) {
  for (int i = 0; i < n; i += 8) {
    uint64_t bits = random.next();
    for (int k = 0; k < 8; ++k, bits >>= 8)
      out[i + k] = table[bits & 255];
  }
}

void put_f16(std::byte* at, float x) {
  uint16_t bits = compute::f32_to_f16(x);
  std::memcpy(at, &bits, sizeof bits);
}

/// Scales of a trained matrix differ from block to block: 0.75 to 1.25 of the mean.
float jitter(random_bits& random) {
  return 0.75f + static_cast<float>(random.below(1024)) * (0.5f / 1023);
}
float either_sign(random_bits& random) {
  return random.below(2) ? 1.f : -1.f;
}

void draw_q8_0(random_bits& random, float sigma, std::byte* b) {
  static const auto table = make_codes(0, 127 / peak_32, -127, 127);
  put_f16(b, sigma * peak_32 / 127 * jitter(random));
  draw_codes(table, random, reinterpret_cast<uint8_t*>(b + 2), 32);
}

void draw_q4_0(random_bits& random, float sigma, std::byte* b) {
  static const auto table = make_codes(8, 8 / peak_32, 0, 15);
  uint8_t codes[32];
  put_f16(b, sigma * peak_32 / 8 * jitter(random) * either_sign(random));
  draw_codes(table, random, codes, 32);
  for (int i = 0; i < 16; ++i)
    b[2 + i] = static_cast<std::byte>(codes[i] | codes[16 + i] << 4);
}

/// Header of a q4_k or q5_k block whose grids are centred on zero: every minimum is half the grid's
/// height, which is exact if dmin is half of top times d and minima equal scales. See quant.cpp.
void draw_affine_scales(random_bits& random, float sigma, int top, std::byte* b) {
  uint8_t scale[8];
  for (auto& s : scale)
    s = static_cast<uint8_t>(38 + random.below(26));
  float d = sigma * 2 * peak_32 / static_cast<float>(top) / 50.5f;
  put_f16(b, d);
  put_f16(b + 2, d * static_cast<float>(top) / 2);
  for (int j = 0; j < 4; ++j) {
    auto high = static_cast<std::byte>(scale[j + 4] >> 4 << 6);
    b[4 + j] = b[8 + j] = static_cast<std::byte>(scale[j]) | high;
    b[12 + j] = static_cast<std::byte>((scale[j + 4] & 15) * 17);
  }
}

void draw_q4_k(random_bits& random, float sigma, std::byte* b) {
  static const auto table = make_codes(7.5f, 15 / (2 * peak_32), 0, 15);
  uint8_t codes[256];
  draw_affine_scales(random, sigma, 15, b);
  draw_codes(table, random, codes, 256);
  for (int i = 0; i < 128; ++i)
    b[16 + i] = static_cast<std::byte>(codes[2 * i] | codes[2 * i + 1] << 4);
}

void draw_q5_k(random_bits& random, float sigma, std::byte* b) {
  static const auto table = make_codes(15.5f, 31 / (2 * peak_32), 0, 31);
  uint8_t codes[256];
  draw_affine_scales(random, sigma, 31, b);
  draw_codes(table, random, codes, 256);
  std::memset(b + 16, 0, 32);
  for (int j = 0; j < 8; j += 2)
    for (int i = 0; i < 32; ++i) {
      int low = codes[32 * j + i], high = codes[32 * j + 32 + i];
      b[48 + 16 * j + i] = static_cast<std::byte>((low & 15) | (high & 15) << 4);
      b[16 + i] |= static_cast<std::byte>((low >> 4) << j | (high >> 4) << (j + 1));
    }
}

void draw_q6_k(random_bits& random, float sigma, std::byte* b) {
  static const auto table = make_codes(32, 32 / peak_16, 0, 63);
  uint8_t codes[256];
  draw_codes(table, random, codes, 256);
  std::memset(b, 0, 192);
  for (int i = 0; i < 256; ++i) {
    int half = i / 128, part = i / 32 % 4, at = i % 32;
    b[64 * half + 32 * (part % 2) + at] |=
        static_cast<std::byte>((codes[i] & 15) << (part < 2 ? 0 : 4));
    b[128 + 32 * half + at] |= static_cast<std::byte>((codes[i] >> 4) << (2 * part));
  }
  for (int j = 0; j < 16; ++j) {
    int scale = static_cast<int>(60 + random.below(41));
    b[192 + j] = static_cast<std::byte>(random.below(2) ? scale : -scale);
  }
  put_f16(b + 208, sigma * peak_16 / 32 / 80);
}

template <void (*Draw)(random_bits&, float, std::byte*)>
void each_block(dtype type, random_bits& random, float sigma, std::byte* out, uint64_t n) {
  const auto& geometry = info(type);
  for (uint64_t i = 0; i < n; i += geometry.block_elements, out += geometry.block_bytes)
    Draw(random, sigma, out);
}

void draw_floats(dtype type, random_bits& random, float sigma, std::byte* out, uint64_t n) {
  std::vector<float> values(n);
  draw_gaussian(random, values.data(), n);
  for (auto& v : values)
    v *= sigma;
  compute::quantise_row(type, values.data(), out, n);
}

} // namespace

void draw_gaussian(random_bits& random, float* out, uint64_t n) {
  const auto& table = quantiles<16>();
  for (uint64_t i = 0; i < n;) {
    uint64_t bits = random.next();
    for (int k = 0; k < 4 && i < n; ++k, bits >>= 16)
      out[i++] = table[bits & 0xffff];
  }
}

void draw_row(dtype type, random_bits& random, float sigma, std::byte* out, uint64_t n) {
  switch (type) {
  case dtype::f32:
  case dtype::f16:
  case dtype::bf16:
    return draw_floats(type, random, sigma, out, n);
  case dtype::q8_0:
    return each_block<draw_q8_0>(type, random, sigma, out, n);
  case dtype::q4_0:
    return each_block<draw_q4_0>(type, random, sigma, out, n);
  case dtype::q4_k:
    return each_block<draw_q4_k>(type, random, sigma, out, n);
  case dtype::q5_k:
    return each_block<draw_q5_k>(type, random, sigma, out, n);
  case dtype::q6_k:
    return each_block<draw_q6_k>(type, random, sigma, out, n);
  }
}

} // namespace coel::model
