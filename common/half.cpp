#include "common/half.hpp"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace coel {

namespace {

uint32_t round_off(uint32_t x, uint32_t bits) {
  uint32_t half = 1u << (bits - 1);
  uint32_t odd = (x >> bits) & 1u;
  return (x + half - 1 + odd) >> bits;
}

uint16_t one_to_half(float x) {
  auto bits = std::bit_cast<uint32_t>(x);
  auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) // a NaN stays one
    return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) // rounds to 65536 or is more
    return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude >= 0x38800000u) // normal: drop 13 bits of fraction, 112 of exponent bias
    return static_cast<uint16_t>(sign | (round_off(magnitude, 13) - (112u << 10)));
  if (magnitude < 0x33000000u) // under half of the smallest subnormal
    return sign;
  uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
  return static_cast<uint16_t>(sign | round_off(fraction, 126 - (magnitude >> 23)));
}

float one_from_half(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  uint32_t exponent = (bits >> 10) & 31;
  uint32_t fraction = bits & 1023u;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    float tiny = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -tiny : tiny;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

#if defined(__x86_64__)
// __builtin_cpu_supports knows "f16c" in some compilers only.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C);
}

// Both return how many values they did; the rest is left to the plain loop.
__attribute__((target("avx2,f16c"))) size_t wide_to_half(std::span<const float> in,
                                                         std::byte* out) {
  size_t i = 0;
  for (; i + 8 <= in.size(); i += 8) {
    auto halves = _mm256_cvtps_ph(_mm256_loadu_ps(in.data() + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i), halves);
  }
  return i;
}

__attribute__((target("avx2,f16c"))) size_t wide_from_half(const std::byte* in,
                                                           std::span<float> out) {
  size_t i = 0;
  for (; i + 8 <= out.size(); i += 8) {
    auto halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 2 * i));
    _mm256_storeu_ps(out.data() + i, _mm256_cvtph_ps(halves));
  }
  return i;
}

const bool wide = has_f16c();
#endif

} // namespace

void to_half(std::span<const float> in, std::byte* out) {
  size_t done = 0;
#if defined(__x86_64__)
  done = wide ? wide_to_half(in, out) : 0;
#endif
  for (size_t i = done; i < in.size(); ++i) {
    auto half = one_to_half(in[i]);
    std::memcpy(out + 2 * i, &half, sizeof half);
  }
}

void from_half(const std::byte* in, std::span<float> out) {
  size_t done = 0;
#if defined(__x86_64__)
  done = wide ? wide_from_half(in, out) : 0;
#endif
  for (size_t i = done; i < out.size(); ++i) {
    uint16_t half = 0;
    std::memcpy(&half, in + 2 * i, sizeof half);
    out[i] = one_from_half(half);
  }
}

} // namespace coel
