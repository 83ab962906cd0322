// Vectors of 16 floats, 16 integers and 64 bytes on AVX-512 with VNNI, for panel_kernels.hpp and
// attend_kernels.hpp. Include inside the source's target region only.
#pragma once

#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace coel::cpu::avx512 {

#define COEL_SIMD __attribute__((always_inline)) inline

/// Input rows that a panel function keeps in registers at once, and panels when there is one row.
inline constexpr int row_tile = 8;

using floats = __m512; // 16
using ints = __m512i;  // 16 of 32 bits
using bytes = __m512i; // 64

COEL_SIMD floats zero() {
  return _mm512_setzero_ps();
}
COEL_SIMD floats all(float x) {
  return _mm512_set1_ps(x);
}
COEL_SIMD ints all(int32_t x) {
  return _mm512_set1_epi32(x);
}
COEL_SIMD floats load(const float* p) {
  return _mm512_loadu_ps(p);
}
COEL_SIMD void store(float* p, floats x) {
  _mm512_storeu_ps(p, x);
}
COEL_SIMD floats mul(floats a, floats b) {
  return _mm512_mul_ps(a, b);
}
COEL_SIMD floats add(floats a, floats b) {
  return _mm512_add_ps(a, b);
}
COEL_SIMD floats sub(floats a, floats b) {
  return _mm512_sub_ps(a, b);
}
COEL_SIMD floats div(floats a, floats b) {
  return _mm512_div_ps(a, b);
}
COEL_SIMD floats smaller(floats a, floats b) {
  return _mm512_min_ps(a, b);
}
COEL_SIMD floats larger(floats a, floats b) {
  return _mm512_max_ps(a, b);
}
COEL_SIMD floats magnitude(floats a) {
  return _mm512_abs_ps(a);
}
COEL_SIMD floats round(floats a) {
  return _mm512_roundscale_ps(a, 8);
}
/// a * b + c, rounded once.
COEL_SIMD floats fma(floats a, floats b, floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
/// c - a * b, rounded once.
COEL_SIMD floats fnma(floats a, floats b, floats c) {
  return _mm512_fnmadd_ps(a, b, c);
}
/// a * 2^n for whole n.
COEL_SIMD floats scale_by_power(floats a, floats n) {
  return _mm512_scalef_ps(a, n);
}
COEL_SIMD floats to_floats(ints a) {
  return _mm512_cvtepi32_ps(a);
}
COEL_SIMD float largest(floats a) {
  return _mm512_reduce_max_ps(a);
}
COEL_SIMD float first(floats a) {
  return _mm512_cvtss_f32(a);
}
COEL_SIMD float sum(floats a) {
  return _mm512_reduce_add_ps(a);
}
/// Wraps around, as rows that are no numbers make it; the compiler's own reduction may not.
COEL_SIMD int32_t sum(ints a) {
  __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
/// To nearest, ties to even.
COEL_SIMD ints to_ints(floats a) {
  return _mm512_cvtps_epi32(a);
}
COEL_SIMD void store_low_bytes(int8_t* p, ints a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}

COEL_SIMD void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}
COEL_SIMD floats load_f16(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
COEL_SIMD floats load_bf16(const void* p) {
  __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
COEL_SIMD void store_f16(uint16_t* p, floats x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
COEL_SIMD floats load_u8(const void* p) {
  return to_floats(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}
COEL_SIMD floats load_i8(const void* p) {
  return to_floats(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}

COEL_SIMD bytes load_bytes(const void* p) {
  return _mm512_loadu_si512(p);
}
COEL_SIMD bytes low_nibbles(bytes a) {
  return _mm512_and_si512(a, _mm512_set1_epi8(15));
}
COEL_SIMD bytes high_nibbles(bytes a) {
  return low_nibbles(_mm512_srli_epi16(a, 4));
}

/// a, with bits [From, From + Count) of each byte of b put in at bit 4.
template <int From, int Count>
COEL_SIMD bytes with_bits(bytes a, bytes b) {
  bytes shifted = From < 4 ? _mm512_slli_epi16(b, From < 4 ? 4 - From : 0)
                           : _mm512_srli_epi16(b, From < 4 ? 0 : From - 4);
  bytes mask = _mm512_set1_epi8(((1 << Count) - 1) << 4);
  return _mm512_ternarylogic_epi32(a, shifted, mask, 0xf8); // a | (shifted & mask)
}

/// acc + the dot products of four bytes of w, unsigned and at most 63, with the four of x.
COEL_SIMD ints dot4(ints acc, bytes w, const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(four));
}

/// The same for bytes w = value + 128: the products are with `value` once the start is taken in.
COEL_SIMD ints dot4_offset(ints acc, bytes w, const int8_t* x) {
  return dot4(acc, w, x);
}
COEL_SIMD ints start_offset(int32_t minus_128_sum) {
  return all(minus_128_sum);
}

} // namespace coel::cpu::avx512
