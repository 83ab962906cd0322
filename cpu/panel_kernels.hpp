// Dot products of a panel's 16 rows with input rows, written once for every instruction set. Before
// including it inside its target region, a source makes `simd` name its vectors (simd_*.hpp).
//
// The order of arithmetic for one input row is that of the columns, block by block, whatever N:
// this is what makes a row's result independent of its batch. Products that are added are always
// fused explicitly, so that the compiler has nothing left to contract.
#pragma once

namespace {

using simd::bytes;
using simd::floats;
using simd::ints;

using raw = const uint8_t*;

/// Running results of N input rows, for the 16 rows of a panel.
template <int N>
struct sums {
  floats acc[N];

  COEL_SIMD sums() {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      acc[n] = simd::zero();
  }
};

/// acc += scale * x.scale * (w . x) over 32 columns, the integers starting from Start(block).
template <int N, class Start, class Dot>
COEL_SIMD void add_block(sums<N>& s, const bytes* w, floats scale, const input_row* x, size_t b,
                         Start start, Dot dot) {
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const input_block& in = x[n].blocks[b];
    ints total = start(in);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j)
      total = dot(total, w[j], in.q + 4 * j);
    s.acc[n] = simd::fma(simd::to_floats(total), simd::mul(scale, simd::all(in.scale)), s.acc[n]);
  }
}

/// How far ahead of use a stream of weights is asked for. With one row the processor's own prefetch
/// does as well or better (measured, a thread: 31 GB/s; 25 with it by hand, 20 with two panels);
/// with several, computing a line takes so long that its prefetch does not run ahead: 8 rows of
/// q4_0 from memory took what reading and computing take one after the other.
inline constexpr uint32_t stream_ahead = 4096; // bytes; 2048 and 8192 do the same

/// Part of so many of a unit at `p`, a little at a time as few lines can be under way.
template <int N, uint32_t Unit, uint32_t Part, uint32_t Parts>
COEL_SIMD void prefetch_part(raw p) {
  constexpr uint32_t lines = (Unit + 63) / 64;
  if constexpr (N > 1) {
#pragma GCC unroll 16
    for (uint32_t line = lines * Part / Parts; line < lines * (Part + 1) / Parts; ++line)
      simd::prefetch(p + stream_ahead + 64 * line);
  }
}

struct plain_dot {
  COEL_SIMD ints operator()(ints total, bytes w, const int8_t* x) const {
    return simd::dot4(total, w, x);
  }
};

struct q4_0_panel {
  static constexpr uint32_t cols = 32;
  static constexpr uint32_t unit = q4_0_unit;
  template <int N>
  static COEL_SIMD void add(sums<N>& s, raw p, const input_row* x, size_t u) {
    prefetch_part<N, unit, 0, 1>(p);
    bytes w[8];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      bytes both = simd::load_bytes(p + plane_bytes * j);
      w[j] = simd::low_nibbles(both);
      w[4 + j] = simd::high_nibbles(both);
    }
    floats scale = simd::load_f16(p + 4 * plane_bytes);
    add_block(
        s, w, scale, x, u, [](const input_block& in) { return simd::all(in.minus_8_sum); },
        plain_dot{});
  }
};

struct q8_0_panel {
  static constexpr uint32_t cols = 32;
  static constexpr uint32_t unit = q8_0_unit;
  template <int N>
  static COEL_SIMD void add(sums<N>& s, raw p, const input_row* x, size_t u) {
    prefetch_part<N, unit, 0, 1>(p);
    bytes w[8];
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j)
      w[j] = simd::load_bytes(p + plane_bytes * j);
    floats scale = simd::load_f16(p + 8 * plane_bytes);
    add_block(
        s, w, scale, x, u,
        [](const input_block& in) { return simd::start_offset(in.minus_128_sum); },
        [](ints total, bytes a, const int8_t* b) { return simd::dot4_offset(total, a, b); });
  }
};

/// Sub-block j = 2 * Pair + Half of a q4_k or q5_k unit: acc += d * scale * (w . x) - dmin * min *
/// sum x.
template <int Pair, int Half, bool Fifths, int N>
COEL_SIMD void add_k_block(sums<N>& s, raw head, floats d, floats dmin, const input_row* x,
                           size_t u) {
  prefetch_part<N, Fifths ? q5_k_unit : q4_k_unit, 2 * Pair + Half, 8>(head);
  constexpr bool first = Fifths && Pair == 0; // its planes alternate with those of the fifths
  raw pair = head + k_head + Pair * k_pair + (Fifths && !first ? k_fifths : 0);
  raw planes = pair + 4 * panel_rows;
  raw fifths = head + k_head + 4 * panel_rows + plane_bytes;
  bytes w[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    bytes both = simd::load_bytes(planes + (first ? 2 : 1) * plane_bytes * j);
    w[j] = Half ? simd::high_nibbles(both) : simd::low_nibbles(both);
    if constexpr (Fifths)
      w[j] =
          simd::with_bits<2 * Pair + Half, 1>(w[j], simd::load_bytes(fifths + 2 * plane_bytes * j));
  }
  floats scale = simd::mul(d, simd::load_u8(pair + 2 * Half * panel_rows));
  floats min = simd::mul(dmin, simd::load_u8(pair + (2 * Half + 1) * panel_rows));
  size_t b = 8 * u + 2 * Pair + Half;
  add_block(
      s, w, scale, x, b, [](const input_block&) { return simd::all(0); }, plain_dot{});
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n)
    s.acc[n] = simd::fnma(min, simd::all(x[n].blocks[b].sum), s.acc[n]);
}

template <bool Fifths>
struct k45_panel {
  static constexpr uint32_t cols = 256;
  static constexpr uint32_t unit = Fifths ? q5_k_unit : q4_k_unit;
  template <int N>
  static COEL_SIMD void add(sums<N>& s, raw p, const input_row* x, size_t u) {
    floats d = simd::load_f16(p);
    floats dmin = simd::load_f16(p + half_row_bytes);
    add_k_block<0, 0, Fifths>(s, p, d, dmin, x, u);
    add_k_block<0, 1, Fifths>(s, p, d, dmin, x, u);
    add_k_block<1, 0, Fifths>(s, p, d, dmin, x, u);
    add_k_block<1, 1, Fifths>(s, p, d, dmin, x, u);
    add_k_block<2, 0, Fifths>(s, p, d, dmin, x, u);
    add_k_block<2, 1, Fifths>(s, p, d, dmin, x, u);
    add_k_block<3, 0, Fifths>(s, p, d, dmin, x, u);
    add_k_block<3, 1, Fifths>(s, p, d, dmin, x, u);
  }
};

/// Run `Part` of four in a half of a q6_k unit: two scales, for 16 columns each.
template <int Part, int N>
COEL_SIMD void add_q6_block(sums<N>& s, raw half, floats d, const input_row* x, size_t b) {
  prefetch_part<N, q6_k_half, Part, 4>(half);
  constexpr bool alternates = Part % 2 == 0;
  raw nibbles = half + q6_k_scales + (alternates ? 0 : 16) * plane_bytes;
  raw pairs = half + q6_k_scales + plane_bytes;
  bytes w[8];
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    bytes both = simd::load_bytes(nibbles + (alternates ? 2 : 1) * plane_bytes * j);
    bytes low = Part < 2 ? simd::low_nibbles(both) : simd::high_nibbles(both);
    w[j] = simd::with_bits<2 * Part, 2>(low, simd::load_bytes(pairs + 2 * plane_bytes * j));
  }
  floats first = simd::mul(d, simd::load_i8(half + 2 * Part * panel_rows));
  floats second = simd::mul(d, simd::load_i8(half + (2 * Part + 1) * panel_rows));
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const input_block& in = x[n].blocks[b];
    ints left = simd::all(in.minus_32_sum[0]);
    ints right = simd::all(in.minus_32_sum[1]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      left = simd::dot4(left, w[j], in.q + 4 * j);
      right = simd::dot4(right, w[4 + j], in.q + 16 + 4 * j);
    }
    floats step = simd::all(in.scale);
    s.acc[n] = simd::fma(simd::to_floats(left), simd::mul(first, step), s.acc[n]);
    s.acc[n] = simd::fma(simd::to_floats(right), simd::mul(second, step), s.acc[n]);
  }
}

struct q6_k_panel {
  static constexpr uint32_t cols = 256;
  static constexpr uint32_t unit = q6_k_unit;
  template <int N>
  static COEL_SIMD void add(sums<N>& s, raw p, const input_row* x, size_t u) {
    floats d = simd::load_f16(p);
    for (int half = 0; half < 2; ++half) {
      raw part = p + plane_bytes + half * q6_k_half;
      size_t b = 8 * u + 4 * half;
      add_q6_block<0>(s, part, d, x, b);
      add_q6_block<1>(s, part, d, x, b + 1);
      add_q6_block<2>(s, part, d, x, b + 2);
      add_q6_block<3>(s, part, d, x, b + 3);
    }
  }
};

struct f32_column {
  static constexpr uint32_t bytes_each = 4;
  static COEL_SIMD floats load(raw p) { return simd::load(reinterpret_cast<const float*>(p)); }
};
struct f16_column {
  static constexpr uint32_t bytes_each = 2;
  static COEL_SIMD floats load(raw p) { return simd::load_f16(p); }
};
struct bf16_column {
  static constexpr uint32_t bytes_each = 2;
  static COEL_SIMD floats load(raw p) { return simd::load_bf16(p); }
};

/// N input rows with a panel of a quantised type.
template <class Panel>
struct blocks {
  template <int N>
  static COEL_SIMD void run(raw p, uint32_t cols, const input_row* x, float (*out)[16]) {
    sums<N> s;
    for (size_t u = 0; u < cols / Panel::cols; ++u, p += Panel::unit) {
      Panel::add(s, p, x, u);
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      simd::store(out[n], s.acc[n]);
  }
};

/// N input rows with a panel of a float type: two sums by parity of the column, added at the end.
template <class Column>
struct columns {
  template <int N>
  static COEL_SIMD void run(raw p, uint32_t cols, const input_row* x, float (*out)[16]) {
    constexpr uint32_t step = 16 * Column::bytes_each;
    sums<N> even;
    sums<N> odd;
    uint32_t c = 0;
    for (; c + 2 <= cols; c += 2, p += 2 * step) {
      floats first = Column::load(p);
      floats second = Column::load(p + step);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        even.acc[n] = simd::fma(first, simd::all(x[n].values[c]), even.acc[n]);
        odd.acc[n] = simd::fma(second, simd::all(x[n].values[c + 1]), odd.acc[n]);
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      if (c < cols)
        even.acc[n] = simd::fma(Column::load(p), simd::all(x[n].values[c]), even.acc[n]);
      simd::store(out[n], simd::add(even.acc[n], odd.acc[n]));
    }
  }
};

/// Fewer rows than a tile, in one go: another would read the weights anew.
template <class Kind, int N>
COEL_SIMD void last_rows(raw p, uint32_t cols, const input_row* x, uint32_t rows,
                         float (*out)[16]) {
  if constexpr (N > 0) {
    if (rows == N)
      return Kind::template run<N>(p, cols, x, out);
    last_rows<Kind, N - 1>(p, cols, x, rows, out);
  }
}

/// Takes the input rows in tiles as large as the registers allow.
template <class Kind>
void panel(const std::byte* weights, uint32_t cols, const input_row* x, uint32_t rows,
           float (*out)[16]) {
  constexpr uint32_t tile = simd::row_tile;
  raw p = reinterpret_cast<raw>(weights);
  uint32_t r = 0;
  for (; r + tile <= rows; r += tile)
    Kind::template run<simd::row_tile>(p, cols, x + r, out + r);
  last_rows<Kind, simd::row_tile - 1>(p, cols, x + r, rows - r, out + r);
}

inline constexpr std::array<panel_fn, dtype_count> panel_functions{
    panel<columns<f32_column>>,     panel<columns<f16_column>>, panel<columns<bf16_column>>,
    panel<blocks<q8_0_panel>>,      panel<blocks<q4_0_panel>>,  panel<blocks<k45_panel<false>>>,
    panel<blocks<k45_panel<true>>>, panel<blocks<q6_k_panel>>};

} // namespace
