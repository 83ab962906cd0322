// Quantised input rows, SwiGLU and attention, written once for every instruction set; included like
// panel_kernels.hpp, after it.
#pragma once

namespace {

/// e^x within 2 units in the last place for x in [-87, 88], clamped to that: 2^n * e^r with
/// |r| <= ln 2 / 2, the polynomial of Cephes' expf, ln 2 in two parts.
COEL_SIMD floats exponential(floats x) {
  x = simd::smaller(simd::larger(x, simd::all(-87.f)), simd::all(88.f));
  floats n = simd::round(simd::mul(x, simd::all(1.44269504f)));
  floats r = simd::fnma(n, simd::all(0.693359375f), x);
  r = simd::fnma(n, simd::all(-2.12194440e-4f), r);
  floats p = simd::all(1.9875691500e-4f);
  p = simd::fma(p, r, simd::all(1.3981999507e-3f));
  p = simd::fma(p, r, simd::all(8.3334519073e-3f));
  p = simd::fma(p, r, simd::all(4.1665795894e-2f));
  p = simd::fma(p, r, simd::all(1.6666665459e-1f));
  p = simd::fma(p, r, simd::all(5.0000001201e-1f));
  floats square = simd::mul(r, r);
  p = simd::fma(p, square, simd::add(r, simd::all(1.f)));
  return simd::scale_by_power(p, n);
}

inline void quantise(const float* x, uint32_t count, input_block* out) {
  for (; count > 0; --count, x += 32, ++out) {
    floats left = simd::load(x);
    floats right = simd::load(x + 16);
    float most = simd::largest(simd::larger(simd::magnitude(left), simd::magnitude(right)));
    floats inverse = simd::all(most > 0 ? 127.f / most : 0.f);
    ints low = simd::to_ints(simd::mul(left, inverse));
    ints high = simd::to_ints(simd::mul(right, inverse));
    simd::store_low_bytes(out->q, low);
    simd::store_low_bytes(out->q + 16, high);
    // Unsigned, as rows that are no numbers wrap around.
    auto low_sum = static_cast<uint32_t>(simd::sum(low));
    auto high_sum = static_cast<uint32_t>(simd::sum(high));
    out->scale = most / 127.f;
    out->sum = out->scale * static_cast<float>(static_cast<int32_t>(low_sum + high_sum));
    out->minus_8_sum = static_cast<int32_t>(-8u * (low_sum + high_sum));
    out->minus_128_sum = static_cast<int32_t>(-128u * (low_sum + high_sum));
    out->minus_32_sum[0] = static_cast<int32_t>(-32u * low_sum);
    out->minus_32_sum[1] = static_cast<int32_t>(-32u * high_sum);
  }
}

inline void swiglu(float* gate, const float* up, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 16) {
    floats g = simd::load(gate + i);
    floats below = simd::add(simd::all(1.f), exponential(simd::sub(simd::zero(), g)));
    simd::store(gate + i, simd::mul(simd::div(g, below), simd::load(up + i)));
  }
}

inline void to_f16(const float* in, uint16_t* out, uint32_t n) {
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16)
    simd::store_f16(out + i, simd::load(in + i));
  if (i < n) {
    float rest[16] = {};
    uint16_t half[16];
    std::memcpy(rest, in + i, (n - i) * sizeof(float));
    simd::store_f16(half, simd::load(rest));
    std::memcpy(out + i, half, (n - i) * sizeof(uint16_t));
  }
}

using score_row = float[most_chunk_tokens];

/// Scores of N queries with the chunk's first or second 16 * W tokens.
template <int N, int W>
COEL_SIMD void score(const kv_chunk& chunk, uint32_t head_dim, float scale,
                     const query_state* queries, score_row* out) {
  floats acc[N][W];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
    for (int w = 0; w < W; ++w)
      acc[n][w] = simd::zero();
  for (uint32_t d = 0; d < head_dim; ++d) {
    floats key[W];
#pragma GCC unroll 2
    for (int w = 0; w < W; ++w)
      key[w] = simd::load_f16(chunk.keys + size_t{d} * chunk.stride + 16 * w);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
      for (int w = 0; w < W; ++w)
        acc[n][w] = simd::fma(key[w], simd::all(queries[n].q[d]), acc[n][w]);
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
    for (int w = 0; w < W; ++w)
      simd::store(out[n] + 16 * w, simd::mul(acc[n][w], simd::all(scale)));
}

/// Turns the visible scores into weights relative to the largest score so far and the others into
/// zeros; what was mixed before shrinks when the largest grows.
COEL_SIMD void weigh(query_state& s, uint32_t head_dim, uint32_t tokens, float* p) {
  for (uint32_t t = s.visible; t < tokens; ++t)
    p[t] = -INFINITY;
  floats top = simd::load(p);
  for (uint32_t t = 16; t < tokens; t += 16)
    top = simd::larger(top, simd::load(p + t));
  float most = simd::largest(simd::larger(top, simd::all(s.largest)));
  if (most > s.largest) {
    floats shrink = exponential(simd::all(s.largest - most));
    float factor = s.total > 0 ? simd::first(shrink) : 0.f;
    s.total *= factor;
    for (uint32_t d = 0; d < head_dim; d += 16)
      simd::store(s.mix + d, simd::mul(simd::load(s.mix + d), simd::all(factor)));
    s.largest = most;
  }
  for (uint32_t t = 0; t < tokens; t += 16)
    simd::store(p + t, exponential(simd::sub(simd::load(p + t), simd::all(most))));
  for (uint32_t t = s.visible; t < tokens; ++t)
    p[t] = 0.f;
  floats total = simd::zero();
  for (uint32_t t = 0; t < tokens; t += 16)
    total = simd::add(total, simd::load(p + t));
  s.total += simd::sum(total);
}

/// mix += weight * value over the first `tokens` tokens, in 16 * W dimensions from d, for N
/// queries.
template <int N, int W>
COEL_SIMD void mix_dims(const kv_chunk& chunk, uint32_t head_dim, uint32_t tokens, uint32_t d,
                        query_state* queries, const score_row* p) {
  floats acc[N][W];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
    for (int w = 0; w < W; ++w)
      acc[n][w] = simd::load(queries[n].mix + d + 16 * w);
  const uint16_t* values = chunk.values + d;
  for (uint32_t t = 0; t < tokens; ++t, values += head_dim) {
    floats value[W];
#pragma GCC unroll 2
    for (int w = 0; w < W; ++w)
      value[w] = simd::load_f16(values + 16 * w);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
      for (int w = 0; w < W; ++w)
        acc[n][w] = simd::fma(value[w], simd::all(p[n][t]), acc[n][w]);
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
    for (int w = 0; w < W; ++w)
      simd::store(queries[n].mix + d + 16 * w, acc[n][w]);
}

template <int N>
COEL_SIMD void mix(const kv_chunk& chunk, uint32_t head_dim, uint32_t tokens, query_state* queries,
                   const score_row* p) {
  uint32_t d = 0;
  for (; d + 32 <= head_dim; d += 32)
    mix_dims<N, 2>(chunk, head_dim, tokens, d, queries, p);
  if (d < head_dim)
    mix_dims<N, 1>(chunk, head_dim, tokens, d, queries, p);
}

/// Tokens that a query may not see have no memory that can be trusted to be a number, so queries go
/// together only where each sees the whole chunk.
template <int N>
COEL_SIMD void attend_queries(const kv_chunk& chunk, uint32_t head_dim, float scale,
                              query_state* queries) {
  score_row p[N];
  if (chunk.tokens == 32)
    score<N, 2>(chunk, head_dim, scale, queries, p);
  else
    score<N, 1>(chunk, head_dim, scale, queries, p);
  for (int n = 0; n < N; ++n)
    weigh(queries[n], head_dim, chunk.tokens, p[n]);
  mix<N>(chunk, head_dim, N == 1 ? queries[0].visible : chunk.tokens, queries, p);
}

/// Queries from the first on that see the whole chunk.
COEL_SIMD uint32_t seeing_all(const kv_chunk& chunk, const query_state* queries, uint32_t count) {
  uint32_t n = 0;
  while (n < count && queries[n].visible == chunk.tokens)
    ++n;
  return n;
}

inline void attend(const kv_chunk& chunk, uint32_t head_dim, float scale, query_state* queries,
                   uint32_t count) {
  while (count > 0) {
    uint32_t together = seeing_all(chunk, queries, count);
    uint32_t n = 1;
    if (simd::row_tile >= 8 && together >= 8)
      attend_queries<simd::row_tile>(chunk, head_dim, scale, queries), n = simd::row_tile;
    else if (together >= 4)
      attend_queries<4>(chunk, head_dim, scale, queries), n = 4;
    else if (together >= 2)
      attend_queries<2>(chunk, head_dim, scale, queries), n = 2;
    else if (queries[0].visible > 0)
      attend_queries<1>(chunk, head_dim, scale, queries);
    queries += n;
    count -= n;
  }
}

} // namespace
