#include "bench/dot_loop.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace coel::bench {

namespace {

// Twelve independent sums hide the latency of four or five cycles at two instructions a cycle.
constexpr int sums = 12;

int32_t scalar(uint64_t rounds, int8_t seed) {
  int32_t acc[sums] = {};
  auto a = static_cast<int8_t>(seed + 3);
  for (uint64_t i = 0; i < rounds; ++i)
    for (int k = 0; k < sums; ++k)
      acc[k] += a * static_cast<int8_t>(i + static_cast<uint64_t>(k));
  int32_t all = 0;
  for (int32_t x : acc)
    all += x;
  return all;
}

#if defined(__x86_64__)
template <class Vector>
int32_t sum_of_lanes(const Vector (&acc)[sums]) {
  alignas(64) int32_t lanes[sums * (sizeof(Vector) / sizeof(int32_t))];
  __builtin_memcpy(lanes, acc, sizeof acc);
  int32_t all = 0;
  for (int32_t x : lanes)
    all += x;
  return all;
}

// The empty asm says that the operands may have changed: nothing is hoisted out of the loop.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) int32_t vnni(uint64_t rounds, int8_t seed) {
  __m512i acc[sums];
  for (int k = 0; k < sums; ++k) // unlike sums, or one would be computed for all
    acc[k] = _mm512_set1_epi32(k);
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(static_cast<char>(seed + 1));
  for (uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < sums; ++k)
      acc[k] = _mm512_dpbusd_epi32(acc[k], a, b);
    asm volatile("" : "+v"(a), "+v"(b));
  }
  return sum_of_lanes(acc);
}

__attribute__((target("avx2"))) int32_t avx2(uint64_t rounds, int8_t seed) {
  __m256i acc[sums];
  for (int k = 0; k < sums; ++k)
    acc[k] = _mm256_set1_epi32(k);
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(static_cast<char>(seed + 1));
  __m256i ones = _mm256_set1_epi16(1);
  for (uint64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < sums; ++k) {
      asm volatile("" : "+x"(a), "+x"(b));
      acc[k] = _mm256_add_epi32(acc[k], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  }
  return sum_of_lanes(acc);
}
#endif

} // namespace

dot_loop best_dot_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vnni"))
    return {"avx512-vnni", sums * 64, vnni};
  if (__builtin_cpu_supports("avx2"))
    return {"avx2", sums * 32, avx2};
#endif
  return {"scalar", sums, scalar};
}

} // namespace coel::bench
