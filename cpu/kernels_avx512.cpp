// AVX-512 with VNNI. Only functions marked AVX512 are compiled for it: the program itself runs
// anywhere, so nothing here may be inlined from headers that others share.
#include "cpu/vector_kernels.hpp"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,f16c,fma")))
#define AVX512_INLINE AVX512 __attribute__((always_inline)) inline

namespace coel::cpu {

namespace {

AVX512_INLINE __m512 halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

AVX512_INLINE __m512i broadcast4(const int8_t* p) {
  int32_t x;
  std::memcpy(&x, p, 4);
  return _mm512_set1_epi32(x);
}

/// Eight registers of four columns each, from four runs of nibbles.
AVX512_INLINE void unpack_nibbles(const uint8_t* p, __m512i* w) {
  const __m512i mask = _mm512_set1_epi8(15);
  for (int j = 0; j < 4; ++j) {
    __m512i raw = _mm512_loadu_si512(p + 64 * j);
    w[2 * j] = _mm512_and_si512(raw, mask);
    w[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(raw, 4), mask);
  }
}

AVX512_INLINE __m512i dots(__m512i sum, const __m512i* w, const int8_t* q, int from, int to) {
  for (int j = from; j < to; ++j)
    sum = _mm512_dpbusd_epi32(sum, w[j], broadcast4(q + 4 * j));
  return sum;
}

/// acc += scale * (x's scale * (dot - offset * sum x)): the offset goes into the start value.
AVX512_INLINE __m512 add_block(__m512 acc, __m512 scale, const __m512i* w, const act_row& x, uint32_t b,
                               int offset) {
  __m512i start = _mm512_set1_epi32(-offset * (x.sums[2 * b] + x.sums[2 * b + 1]));
  __m512 dot = _mm512_cvtepi32_ps(dots(start, w, x.q + 32 * b, 0, 8));
  return _mm512_fmadd_ps(_mm512_mul_ps(dot, _mm512_set1_ps(x.scale[b])), scale, acc);
}

template <int N>
AVX512_INLINE void store(const __m512* acc, float (*out)[16]) {
  for (int n = 0; n < N; ++n)
    _mm512_storeu_ps(out[n], acc[n]);
}

struct q4_0 {
  template <int N>
  static AVX512_INLINE void run(const uint8_t* p, uint32_t cols, const act_row* x, float (*out)[16]) {
    __m512 acc[N];
    for (int n = 0; n < N; ++n)
      acc[n] = _mm512_setzero_ps();
    for (uint32_t b = 0; b < cols / 32; ++b, p += 288) {
      _mm_prefetch(reinterpret_cast<const char*>(p + 4096), _MM_HINT_T0);
      __m512i w[8];
      unpack_nibbles(p + 32, w);
      __m512 scale = halves(p);
      for (int n = 0; n < N; ++n)
        acc[n] = add_block(acc[n], scale, w, x[n], b, 8);
    }
    store<N>(acc, out);
  }
};

struct q8_0 {
  template <int N>
  static AVX512_INLINE void run(const uint8_t* p, uint32_t cols, const act_row* x, float (*out)[16]) {
    __m512 acc[N];
    for (int n = 0; n < N; ++n)
      acc[n] = _mm512_setzero_ps();
    for (uint32_t b = 0; b < cols / 32; ++b, p += 544) {
      __m512i w[8];
      for (int j = 0; j < 8; ++j)
        w[j] = _mm512_loadu_si512(p + 32 + 64 * j);
      __m512 scale = halves(p);
      for (int n = 0; n < N; ++n)
        acc[n] = add_block(acc[n], scale, w, x[n], b, 128);
    }
    store<N>(acc, out);
  }
};

AVX512_INLINE __m512 bytes_u8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
AVX512_INLINE __m512 bytes_i8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

/// Adds bit j of each byte as the fifth bit of register j.
AVX512_INLINE void add_fifth_bits(const uint8_t* p, __m512i* w) {
  __m512i bits = _mm512_loadu_si512(p);
  for (int j = 0; j < 8; ++j) {
    __mmask64 set = _mm512_test_epi8_mask(bits, _mm512_set1_epi8(static_cast<char>(1 << j)));
    w[j] = _mm512_or_si512(w[j], _mm512_maskz_mov_epi8(set, _mm512_set1_epi8(16)));
  }
}

template <bool Five>
struct k45 {
  template <int N>
  static AVX512_INLINE void run(const uint8_t* p, uint32_t cols, const act_row* x, float (*out)[16]) {
    __m512 acc[N];
    for (int n = 0; n < N; ++n)
      acc[n] = _mm512_setzero_ps();
    for (uint32_t super = 0; super < cols / 256; ++super) {
      __m512 d = halves(p), dmin = halves(p + 32);
      p += 64;
      for (uint32_t b = 8 * super; b < 8 * super + 8; ++b, p += Five ? 352 : 288) {
        __m512i w[8];
        unpack_nibbles(p + 32, w);
        if constexpr (Five)
          add_fifth_bits(p + 288, w);
        __m512 scale = _mm512_mul_ps(d, bytes_u8(p)), min = _mm512_mul_ps(dmin, bytes_u8(p + 16));
        for (int n = 0; n < N; ++n) {
          acc[n] = add_block(acc[n], scale, w, x[n], b, 0);
          float sum = x[n].scale[b] * static_cast<float>(x[n].sums[2 * b] + x[n].sums[2 * b + 1]);
          acc[n] = _mm512_fnmadd_ps(min, _mm512_set1_ps(sum), acc[n]);
        }
      }
    }
    store<N>(acc, out);
  }
};

/// Bit pairs 2j, 2j+1 of each byte become bits 4 and 5 of registers 4h+j.
AVX512_INLINE void add_high_pairs(const uint8_t* p, __m512i* w) {
  const __m512i mask = _mm512_set1_epi8(0x30);
  for (int h = 0; h < 2; ++h) {
    __m512i bits = _mm512_loadu_si512(p + 64 * h);
    w[4 * h] = _mm512_or_si512(w[4 * h], _mm512_and_si512(_mm512_slli_epi16(bits, 4), mask));
    w[4 * h + 1] = _mm512_or_si512(w[4 * h + 1], _mm512_and_si512(_mm512_slli_epi16(bits, 2), mask));
    w[4 * h + 2] = _mm512_or_si512(w[4 * h + 2], _mm512_and_si512(bits, mask));
    w[4 * h + 3] = _mm512_or_si512(w[4 * h + 3], _mm512_and_si512(_mm512_srli_epi16(bits, 2), mask));
  }
}

struct q6_k {
  template <int N>
  static AVX512_INLINE void run(const uint8_t* p, uint32_t cols, const act_row* x, float (*out)[16]) {
    __m512 acc[N];
    for (int n = 0; n < N; ++n)
      acc[n] = _mm512_setzero_ps();
    for (uint32_t super = 0; super < cols / 256; ++super) {
      __m512 d = halves(p);
      p += 32;
      for (uint32_t b = 8 * super; b < 8 * super + 8; ++b, p += 416) {
        __m512i w[8];
        unpack_nibbles(p + 32, w);
        add_high_pairs(p + 288, w);
        __m512 first = _mm512_mul_ps(d, bytes_i8(p)), second = _mm512_mul_ps(d, bytes_i8(p + 16));
        for (int n = 0; n < N; ++n) {
          const int8_t* q = x[n].q + 32 * b;
          __m512 xs = _mm512_set1_ps(x[n].scale[b]);
          __m512i lo = dots(_mm512_set1_epi32(-32 * x[n].sums[2 * b]), w, q, 0, 4);
          __m512i hi = dots(_mm512_set1_epi32(-32 * x[n].sums[2 * b + 1]), w, q, 4, 8);
          acc[n] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(lo), xs), first, acc[n]);
          acc[n] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(hi), xs), second, acc[n]);
        }
      }
    }
    store<N>(acc, out);
  }
};

AVX512_INLINE __m512 column(const uint8_t* p, dtype type) {
  if (type == dtype::f32)
    return _mm512_loadu_ps(p);
  if (type == dtype::f16)
    return halves(p);
  auto wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/// Four accumulators by column modulo 4, so that additions do not wait for each other.
template <dtype Type>
struct floats {
  template <int N>
  static AVX512_INLINE void run(const uint8_t* p, uint32_t cols, const act_row* x, float (*out)[16]) {
    constexpr uint32_t step = Type == dtype::f32 ? 64 : 32;
    __m512 acc[N][4];
    for (int n = 0; n < N; ++n)
      for (auto& a : acc[n])
        a = _mm512_setzero_ps();
    for (uint32_t c = 0; c < cols; c += 4)
      for (uint32_t i = 0; i < 4; ++i) {
        if (c + i >= cols)
          break;
        __m512 w = column(p + uint64_t{c + i} * step, Type);
        for (int n = 0; n < N; ++n)
          acc[n][i] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[n].f[c + i]), acc[n][i]);
      }
    for (int n = 0; n < N; ++n)
      _mm512_storeu_ps(out[n], _mm512_add_ps(_mm512_add_ps(acc[n][0], acc[n][1]),
                                             _mm512_add_ps(acc[n][2], acc[n][3])));
  }
};

template <class Kernel>
AVX512 void panel(const std::byte* panel, uint32_t cols, const act_row* x, uint32_t rows,
                  float (*out)[16]) {
  auto* p = reinterpret_cast<const uint8_t*>(panel);
  switch (rows) {
    case 1: return Kernel::template run<1>(p, cols, x, out);
    case 2: return Kernel::template run<2>(p, cols, x, out);
    case 3: return Kernel::template run<3>(p, cols, x, out);
    case 4: return Kernel::template run<4>(p, cols, x, out);
    case 5: return Kernel::template run<5>(p, cols, x, out);
    case 6: return Kernel::template run<6>(p, cols, x, out);
    case 7: return Kernel::template run<7>(p, cols, x, out);
    default: return Kernel::template run<8>(p, cols, x, out);
  }
}

AVX512 void quantise(const float* x, uint32_t cols, std::byte* act) {
  auto* q = reinterpret_cast<int8_t*>(act);
  auto* scales = reinterpret_cast<float*>(act + cols);
  auto* sums = reinterpret_cast<int32_t*>(scales + cols / 32);
  for (uint32_t b = 0; b < cols / 32; ++b) {
    __m512 lo = _mm512_loadu_ps(x + 32 * b), hi = _mm512_loadu_ps(x + 32 * b + 16);
    float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(lo), _mm512_abs_ps(hi)));
    scales[b] = most / 127.f;
    __m512 inverse = _mm512_set1_ps(most > 0 ? 127.f / most : 0.f);
    __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(lo, inverse));
    __m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(hi, inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 32 * b), _mm512_cvtsepi32_epi8(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 32 * b + 16), _mm512_cvtsepi32_epi8(c));
    sums[2 * b] = _mm512_reduce_add_epi32(a);
    sums[2 * b + 1] = _mm512_reduce_add_epi32(c);
  }
}

/// e^x to about 2 units in the last place: 2^n * p(r), Cephes' polynomial for |r| <= ln 2 / 2.
AVX512_INLINE __m512 exponential(__m512 x) {
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.f)), _mm512_set1_ps(88.f));
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.f)));
  return _mm512_scalef_ps(p, n);
}

AVX512 void swiglu(float* gate, const float* up, uint32_t n) {
  const __m512 one = _mm512_set1_ps(1.f);
  for (uint32_t i = 0; i < n; i += 16) {
    __mmask16 m = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    __m512 g = _mm512_maskz_loadu_ps(m, gate + i), u = _mm512_maskz_loadu_ps(m, up + i);
    __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), g));
    _mm512_mask_storeu_ps(gate + i, m, _mm512_mul_ps(_mm512_div_ps(g, _mm512_add_ps(one, e)), u));
  }
}

AVX512 void to_halves(const float* x, uint16_t* out, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 16) {
    __mmask16 m = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    _mm256_mask_storeu_epi16(out + i, m, _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, x + i), 0));
  }
}

template <int N>
AVX512_INLINE void score_queries(const uint16_t* keys, uint32_t stride, uint32_t head_dim,
                                 const float* const* q, float (*out)[16]) {
  __m512 acc[N];
  for (int n = 0; n < N; ++n)
    acc[n] = _mm512_setzero_ps();
  for (uint32_t d = 0; d < head_dim; ++d) {
    __m512 k = halves(reinterpret_cast<const uint8_t*>(keys + size_t{d} * stride));
    for (int n = 0; n < N; ++n)
      acc[n] = _mm512_fmadd_ps(k, _mm512_set1_ps(q[n][d]), acc[n]);
  }
  store<N>(acc, out);
}

template <int N>
AVX512_INLINE void mix_values(const uint16_t* values, uint32_t head_dim, uint32_t tokens,
                              const float (*p)[16], float* const* acc) {
  for (uint32_t d = 0; d < head_dim; d += 16) {
    __mmask16 m = head_dim - d >= 16 ? 0xffff : static_cast<__mmask16>((1u << (head_dim - d)) - 1);
    __m512 sum[N];
    for (int n = 0; n < N; ++n)
      sum[n] = _mm512_maskz_loadu_ps(m, acc[n] + d);
    for (uint32_t t = 0; t < tokens; ++t) {
      __m512 v = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, values + size_t{t} * head_dim + d));
      for (int n = 0; n < N; ++n)
        sum[n] = _mm512_fmadd_ps(v, _mm512_set1_ps(p[n][t]), sum[n]);
    }
    for (int n = 0; n < N; ++n)
      _mm512_mask_storeu_ps(acc[n] + d, m, sum[n]);
  }
}

AVX512 void scores(const uint16_t* keys, uint32_t stride, uint32_t head_dim, const float* const* q,
                   uint32_t queries, float (*out)[16]) {
  uint32_t i = 0;
  for (; i + 4 <= queries; i += 4)
    score_queries<4>(keys, stride, head_dim, q + i, out + i);
  for (; i < queries; ++i)
    score_queries<1>(keys, stride, head_dim, q + i, out + i);
}

AVX512 void mix(const uint16_t* values, uint32_t head_dim, uint32_t tokens, const float (*p)[16],
                uint32_t queries, float* const* acc) {
  uint32_t i = 0;
  for (; i + 4 <= queries; i += 4)
    mix_values<4>(values, head_dim, tokens, p + i, acc + i);
  for (; i < queries; ++i)
    mix_values<1>(values, head_dim, tokens, p + i, acc + i);
}

bool usable() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

} // namespace

const vector_kernels avx512_kernels{
    "avx512-vnni", usable,
    {panel<floats<dtype::f32>>, panel<floats<dtype::f16>>, panel<floats<dtype::bf16>>, panel<q8_0>,
     panel<q4_0>, panel<k45<false>>, panel<k45<true>>, panel<q6_k>},
    quantise, swiglu, to_halves, scores, mix};

} // namespace coel::cpu
#else
namespace coel::cpu {
const vector_kernels avx512_kernels{"avx512-vnni", [] { return false; }, {}, nullptr, nullptr, nullptr, nullptr, nullptr};
}
#endif
