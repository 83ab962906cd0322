// The vectors of simd_avx512.hpp in pairs of AVX2 registers. Include inside the source's target
// region only.
#pragma once

#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace coel::cpu::avx2 {

#define COEL_SIMD __attribute__((always_inline)) inline

/// Input rows that a panel function keeps in registers at once.
inline constexpr int row_tile = 4;

struct floats { // 16
  __m256 low;
  __m256 high;
};
struct ints { // 16 of 32 bits
  __m256i low;
  __m256i high;
};
struct bytes { // 64
  __m256i low;
  __m256i high;
};

COEL_SIMD floats zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
COEL_SIMD floats all(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
COEL_SIMD ints all(int32_t x) {
  return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
COEL_SIMD floats load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
COEL_SIMD void store(float* p, floats x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
COEL_SIMD floats mul(floats a, floats b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
COEL_SIMD floats add(floats a, floats b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
COEL_SIMD floats sub(floats a, floats b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
COEL_SIMD floats div(floats a, floats b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
COEL_SIMD floats smaller(floats a, floats b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
COEL_SIMD floats larger(floats a, floats b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
COEL_SIMD floats magnitude(floats a) {
  __m256 sign = _mm256_set1_ps(-0.f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
COEL_SIMD floats round(floats a) {
  return {_mm256_round_ps(a.low, 8), _mm256_round_ps(a.high, 8)};
}
/// a * b + c, rounded once.
COEL_SIMD floats fma(floats a, floats b, floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
/// c - a * b, rounded once.
COEL_SIMD floats fnma(floats a, floats b, floats c) {
  return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}
COEL_SIMD __m256 power_of_two(__m256 n) {
  __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
/// a * 2^n for whole n in [-126, 127].
COEL_SIMD floats scale_by_power(floats a, floats n) {
  return mul(a, {power_of_two(n.low), power_of_two(n.high)});
}
COEL_SIMD floats to_floats(ints a) {
  return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
}
/// To nearest, ties to even.
COEL_SIMD ints to_ints(floats a) {
  return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)};
}

COEL_SIMD float first(floats a) {
  return _mm256_cvtss_f32(a.low);
}
COEL_SIMD float sum(floats a) {
  __m256 eight = _mm256_add_ps(a.high, a.low);
  __m128 four = _mm_add_ps(_mm256_extractf128_ps(eight, 1), _mm256_castps256_ps128(eight));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
COEL_SIMD float largest(floats a) {
  __m256 eight = _mm256_max_ps(a.high, a.low);
  __m128 four = _mm_max_ps(_mm256_extractf128_ps(eight, 1), _mm256_castps256_ps128(eight));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
COEL_SIMD int32_t sum(ints a) {
  __m256i eight = _mm256_add_epi32(a.low, a.high);
  __m128i four = _mm_add_epi32(_mm256_extracti128_si256(eight, 1), _mm256_castsi256_si128(eight));
  __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
COEL_SIMD void store_low_bytes(int8_t* p, ints a) {
  __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8);
  __m128i packed =
      _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}

COEL_SIMD __m128i load_16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
COEL_SIMD void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}
COEL_SIMD floats load_f16(const void* p) {
  return {_mm256_cvtph_ps(load_16(p)), _mm256_cvtph_ps(load_16(static_cast<const char*>(p) + 16))};
}
COEL_SIMD __m256 widen_bf16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
COEL_SIMD floats load_bf16(const void* p) {
  return {widen_bf16(load_16(p)), widen_bf16(load_16(static_cast<const char*>(p) + 16))};
}
COEL_SIMD void store_f16(uint16_t* p, floats x) {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.low, nearest));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.high, nearest));
}
COEL_SIMD floats load_u8(const void* p) {
  __m128i x = load_16(p);
  return to_floats({_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))});
}
COEL_SIMD floats load_i8(const void* p) {
  __m128i x = load_16(p);
  return to_floats({_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))});
}

COEL_SIMD bytes load_bytes(const void* p) {
  auto* both = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(both), _mm256_loadu_si256(both + 1)};
}
COEL_SIMD bytes low_nibbles(bytes a) {
  __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask)};
}
COEL_SIMD bytes high_nibbles(bytes a) {
  return low_nibbles({_mm256_srli_epi16(a.low, 4), _mm256_srli_epi16(a.high, 4)});
}

template <int From, int Count>
COEL_SIMD __m256i at_bit_4(__m256i b) {
  __m256i shifted = From < 4 ? _mm256_slli_epi16(b, From < 4 ? 4 - From : 0)
                             : _mm256_srli_epi16(b, From < 4 ? 0 : From - 4);
  return _mm256_and_si256(shifted, _mm256_set1_epi8(((1 << Count) - 1) << 4));
}
/// a, with bits [From, From + Count) of each byte of b put in at bit 4.
template <int From, int Count>
COEL_SIMD bytes with_bits(bytes a, bytes b) {
  return {_mm256_or_si256(a.low, at_bit_4<From, Count>(b.low)),
          _mm256_or_si256(a.high, at_bit_4<From, Count>(b.high))};
}

COEL_SIMD __m256i four_bytes(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}
/// acc + the dot products of groups of four; unsigned u with signed v.
COEL_SIMD __m256i add_dots(__m256i acc, __m256i u, __m256i v) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, v), _mm256_set1_epi16(1)));
}
/// acc + the dot products of four bytes of w, unsigned and at most 63, with the four of x: pairs of
/// products stay below 2 * 63 * 127, within 16 bits.
COEL_SIMD ints dot4(ints acc, bytes w, const int8_t* x) {
  __m256i v = four_bytes(x);
  return {add_dots(acc.low, w.low, v), add_dots(acc.high, w.high, v)};
}

COEL_SIMD __m256i add_signed_dots(__m256i acc, __m256i w, __m256i v) {
  __m256i value = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
  return add_dots(acc, _mm256_abs_epi8(value), _mm256_sign_epi8(v, value));
}
/// The same for bytes w = value + 128. Pairs of 255 * 127 would overflow 16 bits, so the sign moves
/// over to x: 2 * 128 * 127 does not. The products are with `value` already: nothing to start from.
COEL_SIMD ints dot4_offset(ints acc, bytes w, const int8_t* x) {
  __m256i v = four_bytes(x);
  return {add_signed_dots(acc.low, w.low, v), add_signed_dots(acc.high, w.high, v)};
}
COEL_SIMD ints start_offset(int32_t) {
  return all(0);
}

} // namespace coel::cpu::avx2
