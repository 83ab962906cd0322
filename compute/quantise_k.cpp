// Every sub-block gets the scale (and minimum) of least squared error, found in two alternating
// steps (Lloyd, "Least squares quantization in PCM", 1982): round to the grid, then fit the grid to
// the rounded codes by linear regression; started from several widths of the grid, best one kept.
// All elements weigh the same: inputs unknown, the error of a product grows with the plain sum of
// squared weight errors. Layouts: dequantise_row in quant.cpp.
#include "compute/quantise_k.hpp"

#include "compute/quant.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace coel::compute {

namespace {

void put_f16(std::byte* at, uint16_t bits) {
  at[0] = static_cast<std::byte>(bits & 0xff);
  at[1] = static_cast<std::byte>(bits >> 8);
}

uint16_t saturated_f16(float x) {
  return f32_to_f16(std::clamp(x, -65504.f, 65504.f));
}

/// Nearest integer in [0, top], 0 for the NaN that a denormal scale's inverse makes of 0; plain
/// enough that compilers vectorise it. The order of max's arguments is what takes the NaN away.
int nearest(float x, int top) {
  return static_cast<int>(std::min(std::max(0.f, x), static_cast<float>(top)) + 0.5f);
}

// ------------------------------------------------------------------ q4_k, q5_k: x = scale q - min

constexpr int affine_size = 32; // elements of a sub-block
constexpr int affine_blocks = k_block / affine_size;
constexpr int scale_top = 63; // six bits

struct affine {
  float scale = 0;
  float min = 0; // >= 0
};

void round_codes(const float* x, affine a, int top, int* codes) {
  float inverse = a.scale > 0 ? 1.f / a.scale : 0.f;
  for (int i = 0; i < affine_size; ++i)
    codes[i] = nearest((x[i] + a.min) * inverse, top);
}

double squared_error(const float* x, affine a, const int* codes) {
  float sum = 0;
  for (int i = 0; i < affine_size; ++i) {
    float e = a.scale * static_cast<float>(codes[i]) - a.min - x[i];
    sum += e * e;
  }
  return sum;
}

/// The regression of x on the codes, its intercept kept from turning positive.
affine fit(const float* x, const int* codes) {
  int n = affine_size, sum_q = 0, sum_qq = 0;
  double sum_x = 0, sum_xq = 0;
  for (int i = 0; i < affine_size; ++i) {
    sum_q += codes[i];
    sum_qq += codes[i] * codes[i];
    sum_x += x[i];
    sum_xq += static_cast<double>(x[i]) * codes[i];
  }
  int spread = n * sum_qq - sum_q * sum_q;
  double scale = spread ? (n * sum_xq - sum_q * sum_x) / spread : 0;
  double min = (scale * sum_q - sum_x) / n;
  if (min < 0) {
    min = 0;
    scale = sum_qq ? sum_xq / sum_qq : 0;
  }
  return {static_cast<float>(std::max(scale, 0.)), static_cast<float>(min)};
}

affine best_affine(const float* x, int top) {
  auto [low, high] = std::minmax_element(x, x + affine_size);
  float from = std::min(*low, 0.f), to = *high;
  if (to <= from)
    return {0, -from};
  affine best;
  double least = HUGE_VAL;
  std::array<int, affine_size> codes;
  for (float extra : {0.f, 1.f, 2.f}) {
    affine a{(to - from) / (static_cast<float>(top) + extra), -from};
    a.min -= a.scale * extra * 0.5f; // a grid narrower than the range clips both ends alike
    a.min = std::max(a.min, 0.f);
    for (int round = 0; round < 3; ++round) {
      round_codes(x, a, top, codes.data());
      a = fit(x, codes.data());
      double e = squared_error(x, a, codes.data());
      if (e < least) {
        least = e;
        best = a;
      }
    }
  }
  return best;
}

struct affine_block {
  uint16_t d = 0, dmin = 0; // f16
  std::array<uint8_t, affine_blocks> scale{}, min{};
  std::array<int, k_block> codes{};
};

/// The packed scale and minimum of one sub-block with its codes: the pair nearest to `wanted` or a
/// neighbour of it, whichever leaves the least error (rounding both to six bits shifts the
/// optimum).
void pack_sub_block(const float* x, affine wanted, affine unit, int top, uint8_t& scale,
                    uint8_t& min, int* codes) {
  auto steps = [](float value, float one) { return one > 0 ? nearest(value / one, scale_top) : 0; };
  int at_scale = steps(wanted.scale, unit.scale), at_min = steps(wanted.min, unit.min);
  double least = HUGE_VAL;
  for (int s = std::max(at_scale - 1, 0); s <= std::min(at_scale + 1, scale_top); ++s)
    for (int m = std::max(at_min - 1, 0); m <= std::min(at_min + 1, scale_top); ++m) {
      affine a{unit.scale * static_cast<float>(s), unit.min * static_cast<float>(m)};
      std::array<int, affine_size> tried;
      round_codes(x, a, top, tried.data());
      double e = squared_error(x, a, tried.data());
      if (e < least) {
        least = e;
        scale = static_cast<uint8_t>(s);
        min = static_cast<uint8_t>(m);
        std::copy(tried.begin(), tried.end(), codes);
      }
    }
}

affine_block quantise_affine(const float* x, int top) {
  std::array<affine, affine_blocks> wanted;
  affine most;
  for (int j = 0; j < affine_blocks; ++j) {
    wanted[j] = best_affine(x + j * affine_size, top);
    most.scale = std::max(most.scale, wanted[j].scale);
    most.min = std::max(most.min, wanted[j].min);
  }
  affine_block b;
  b.d = saturated_f16(most.scale / scale_top);
  b.dmin = saturated_f16(most.min / scale_top);
  affine unit{f16_to_f32(b.d), f16_to_f32(b.dmin)};
  for (int j = 0; j < affine_blocks; ++j)
    pack_sub_block(x + j * affine_size, wanted[j], unit, top, b.scale[j], b.min[j],
                   &b.codes[j * affine_size]);
  return b;
}

/// Twelve bytes: see k_scale in quant.cpp.
void put_scales(const affine_block& b, std::byte* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<std::byte>(b.scale[j] | (b.scale[j + 4] >> 4) << 6);
    s[j + 4] = static_cast<std::byte>(b.min[j] | (b.min[j + 4] >> 4) << 6);
    s[j + 8] = static_cast<std::byte>((b.scale[j + 4] & 15) | (b.min[j + 4] & 15) << 4);
  }
}

void put_affine(const affine_block& b, std::byte* block, std::byte* fifth, std::byte* nibbles) {
  put_f16(block, b.d);
  put_f16(block + 2, b.dmin);
  put_scales(b, block + 4);
  if (fifth)
    std::memset(fifth, 0, affine_size);
  for (int j = 0; j < affine_blocks; j += 2)
    for (int i = 0; i < affine_size; ++i) {
      int low = b.codes[j * affine_size + i], high = b.codes[(j + 1) * affine_size + i];
      nibbles[j / 2 * affine_size + i] = static_cast<std::byte>((low & 15) | (high & 15) << 4);
      if (fifth)
        fifth[i] |= static_cast<std::byte>((low >> 4) << j | (high >> 4) << (j + 1));
    }
}

// ------------------------------------------------------------------------- q6_k: x = scale (q -
// 32)

constexpr int signed_size = 16;
constexpr int signed_blocks = k_block / signed_size;
constexpr int half_range = 32; // codes -32..31

int nearest_signed(float x) {
  return nearest(x + half_range, 2 * half_range - 1) - half_range;
}

/// Scale of either sign (the grid reaches one step further below zero than above it).
float best_scale(const float* x) {
  float peak = *std::max_element(x, x + signed_size,
                                 [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (peak == 0)
    return 0;
  float best = 0;
  double most = -1; // explained sum of squares: the error is sum x^2 less this
  for (float steps : {-30.5f, -31.f, -31.5f, -32.f, -32.5f, -33.f, -33.5f, 31.f, 31.5f, 32.f}) {
    float inverse = steps / peak;
    double xq = 0;
    int qq = 0;
    for (int i = 0; i < signed_size; ++i) {
      int q = nearest_signed(x[i] * inverse);
      xq += static_cast<double>(x[i]) * q;
      qq += q * q;
    }
    if (qq && xq * xq / qq > most) {
      most = xq * xq / qq;
      best = static_cast<float>(xq / qq);
    }
  }
  return best;
}

} // namespace

void encode_q4_k(const float* x, std::byte* block) {
  put_affine(quantise_affine(x, 15), block, nullptr, block + 16);
}

void encode_q5_k(const float* x, std::byte* block) {
  put_affine(quantise_affine(x, 31), block, block + 16, block + 48);
}

void encode_q6_k(const float* x, std::byte* block) {
  std::memset(block, 0, 210);
  std::array<float, signed_blocks> wanted;
  float peak = 0;
  for (int j = 0; j < signed_blocks; ++j) {
    wanted[j] = best_scale(x + j * signed_size);
    if (std::fabs(wanted[j]) > std::fabs(peak))
      peak = wanted[j];
  }
  uint16_t bits = saturated_f16(peak / -128.f);
  float d = f16_to_f32(bits);
  put_f16(block + 208, bits);
  for (int i = 0; i < k_block; ++i) {
    int j = i / signed_size;
    int scale = d != 0 ? static_cast<int>(std::lrint(std::clamp(wanted[j] / d, -128.f, 127.f))) : 0;
    block[192 + j] = static_cast<std::byte>(static_cast<int8_t>(scale));
    float step = d * static_cast<float>(scale);
    int q = (step != 0 ? nearest_signed(x[i] / step) : 0) + half_range;
    int half = i / 128, part = i / 32 % 4, at = i % 32;
    block[64 * half + 32 * (part % 2) + at] |=
        static_cast<std::byte>((q & 15) << (part < 2 ? 0 : 4));
    block[128 + 32 * half + at] |= static_cast<std::byte>((q >> 4) << (2 * part));
  }
}

} // namespace coel::compute
