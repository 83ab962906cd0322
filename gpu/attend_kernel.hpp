// Rotary embedding, the store into the pages, and attention over them.
//
// A query's history is cut into splits of 128 tokens at fixed places. Of each split a block makes a
// softmax relative to the split's own largest score, and splits are merged in order (online
// softmax, Milakov and Gimelshein 2018; splits as in Dao et al., Flash-Decoding 2023). Whether one
// block goes through all splits or every split has a block, and which queries share the block, does
// not change a query's arithmetic.
#pragma once

#include "gpu/args.hpp"
#include "gpu/simt.hpp"

namespace coel::gpu {

inline constexpr uint32_t split_tokens = 128;
inline constexpr uint32_t attend_threads = 128; ///< one a token of the split
inline constexpr uint32_t attend_warps = attend_threads / simt::warp_lanes;
inline constexpr uint32_t most_head_dim = 256;
inline constexpr uint32_t dims_of_thread = most_head_dim / attend_threads;

COEL_DEVICE uint16_t* keys_of(const kv_view& c, uint32_t page, uint32_t layer, uint32_t kv_head) {
  uint64_t index = (uint64_t{page} * c.layers + layer) * c.kv_heads + kv_head;
  return c.base + index * 2 * c.page_tokens * c.head_dim;
}

/// The token's key; its value is `value_offset` further on.
COEL_DEVICE uint16_t* key_at(const kv_view& c, const attend_row& r, uint32_t token, uint32_t layer,
                             uint32_t kv_head) {
  uint32_t page = r.pages[token / c.page_tokens];
  return keys_of(c, page, layer, kv_head) + uint64_t{token % c.page_tokens} * c.head_dim;
}
COEL_DEVICE uint64_t value_offset(const kv_view& c) {
  return uint64_t{c.page_tokens} * c.head_dim;
}

/// Rotates a head in place; `store`: and writes it to the page.
COEL_DEVICE void rotate_head(const rotate_args& args, const attend_row& r, float* head,
                             uint16_t* store) {
  uint32_t half = r.angles ? args.dims / 2 : 0;
  uint32_t step = args.interleaved ? 2 : 1;
  uint32_t partner = args.interleaved ? 1 : half;
  for (uint32_t i = simt::lane(); i < half; i += simt::warp_lanes) {
    uint32_t first = i * step;
    float x = head[first];
    float y = head[first + partner];
    float cosine = r.angles[i];
    float sine = r.angles[half + i];
    head[first] = x * cosine - y * sine;
    head[first + partner] = x * sine + y * cosine;
    if (store) {
      store[first] = simt::float_to_half(head[first]);
      store[first + partner] = simt::float_to_half(head[first + partner]);
    }
  }
  if (store)
    for (uint32_t d = 2 * half + simt::lane(); d < args.cache.head_dim; d += simt::warp_lanes)
      store[d] = simt::float_to_half(head[d]);
}

/// A warp (x) takes a head of a row (y) of the table: of q, of k, or of v, which is only stored.
COEL_DEVICE void rotate_and_store(const rotate_args& args) {
  const kv_view& c = args.cache;
  const attend_row& r = args.table[simt::block_y()];
  uint32_t head = simt::block_x() * attend_warps + simt::warp();
  if (head < args.heads)
    return rotate_head(args, r, args.q + (uint64_t{r.row} * args.heads + head) * c.head_dim,
                       nullptr);
  head -= args.heads;
  if (head >= 2 * c.kv_heads)
    return;
  uint32_t kv_head = head % c.kv_heads;
  uint64_t at = (uint64_t{r.row} * c.kv_heads + kv_head) * c.head_dim;
  uint16_t* store = key_at(c, r, r.position, args.layer, kv_head);
  if (head < c.kv_heads)
    return rotate_head(args, r, args.k + at, store);
  for (uint32_t d = simt::lane(); d < c.head_dim; d += simt::warp_lanes)
    store[value_offset(c) + d] = simt::float_to_half(args.v[at + d]);
}

/// Softmax so far of one query: weights are relative to e^largest.
struct softmax {
  float largest;
  float total;
};

/// Factors of what was summed before and of what joins it.
struct merge_factors {
  float before, joining;
};
COEL_DEVICE merge_factors merge(softmax& to, const softmax& part) {
  float largest = simt::larger(to.largest, part.largest);
  merge_factors f{simt::exponential(to.largest - largest),
                  simt::exponential(part.largest - largest)};
  to.total = simt::fma(to.total, f.before, part.total * f.joining);
  to.largest = largest;
  return f;
}
COEL_DEVICE float merged(float before, float joining, const merge_factors& f) {
  return simt::fma(before, f.before, joining * f.joining);
}

template <int Queries>
struct attend_memory {
  const uint16_t* key[split_tokens]; ///< of each token
  float q[Queries][most_head_dim];
  float weight[Queries][split_tokens];
  float largest[Queries][attend_warps];
  float total[Queries][attend_warps];
};

/// The queries of a block: rows of a tile times heads of a group.
template <int Queries>
struct block_queries {
  const attend_args& args;
  attend_tile tile;
  uint32_t kv_head, first_head, group, count;
  uint32_t visible[Queries]; ///< tokens that a query sees
  uint32_t last = 0;         ///< the most of them

  COEL_DEVICE explicit block_queries(const attend_args& a)
      : args(a), tile(a.tiles[simt::block_y()]) {
    uint32_t of_kv = a.heads / a.cache.kv_heads;
    uint32_t groups = (of_kv + a.group - 1) / a.group;
    kv_head = simt::block_x() / groups;
    uint32_t first = simt::block_x() % groups * a.group;
    first_head = kv_head * of_kv + first;
    group = of_kv - first < a.group ? of_kv - first : a.group;
    count = tile.rows * group;
    COEL_UNROLL
    for (uint32_t i = 0; i < Queries; ++i) {
      visible[i] = i < count ? row(i).position + 1 : 0;
      last = visible[i] > last ? visible[i] : last;
    }
  }
  COEL_DEVICE uint32_t table_row(uint32_t i) const { return tile.first + i / group; }
  COEL_DEVICE const attend_row& row(uint32_t i) const { return args.table[table_row(i)]; }
  COEL_DEVICE uint32_t head(uint32_t i) const { return first_head + i % group; }
  COEL_DEVICE uint64_t offset(uint32_t i) const { ///< of its head in q and out
    return (uint64_t{row(i).row} * args.heads + head(i)) * args.cache.head_dim;
  }
};

/// Scores of the thread's token: products of the whole head, element by element in order.
template <int Queries>
COEL_DEVICE void score_token(const attend_memory<Queries>& shared, const uint16_t* key,
                             uint32_t dims, float (&score)[Queries]) {
  COEL_UNROLL
  for (int i = 0; i < Queries; ++i)
    score[i] = 0.f;
  auto add = [&](uint32_t d, float k) {
    COEL_UNROLL
    for (int i = 0; i < Queries; ++i)
      score[i] = simt::fma(shared.q[i][d], k, score[i]);
  };
  if (dims % 8 != 0) {
    for (uint32_t d = 0; d < dims; ++d)
      add(d, simt::half_to_float(key[d]));
    return;
  }
  for (uint32_t d = 0; d < dims; d += 8) {
    simt::words4 v = *reinterpret_cast<const simt::words4*>(key + d);
    uint32_t words[4] = {v.x, v.y, v.z, v.w};
    COEL_UNROLL
    for (uint32_t e = 0; e < 8; ++e)
      add(d + e, simt::half_to_float(static_cast<uint16_t>(words[e / 2] >> (16 * (e % 2)))));
  }
}

/// Weights of one split's tokens into shared memory; largest and total by warp.
template <int Queries>
COEL_DEVICE void weigh_split(attend_memory<Queries>& shared, const block_queries<Queries>& b,
                             uint32_t first, softmax (&part)[Queries]) {
  uint32_t token = first + simt::thread();
  float score[Queries];
  if (token < b.last) {
    const uint16_t* key = key_at(b.args.cache, b.row(0), token, b.args.layer, b.kv_head);
    shared.key[simt::thread()] = key;
    score_token(shared, key, b.args.cache.head_dim, score);
  }
  COEL_UNROLL
  for (int i = 0; i < Queries; ++i) {
    score[i] = token < b.visible[i] ? score[i] * b.args.scale : simt::as_float(0xff800000u);
    float most = simt::largest_of_warp(score[i]);
    if (simt::lane() == 0)
      shared.largest[i][simt::warp()] = most;
  }
  simt::sync();
  COEL_UNROLL
  for (int i = 0; i < Queries; ++i) {
    const float* most = shared.largest[i];
    part[i].largest = simt::larger(simt::larger(most[0], most[1]), simt::larger(most[2], most[3]));
    float weight = token < b.visible[i] ? simt::exponential(score[i] - part[i].largest) : 0.f;
    shared.weight[i][simt::thread()] = weight;
    weight = simt::sum_of_warp(weight);
    if (simt::lane() == 0)
      shared.total[i][simt::warp()] = weight;
  }
  simt::sync();
  COEL_UNROLL
  for (int i = 0; i < Queries; ++i) {
    const float* total = shared.total[i];
    part[i].total = (total[0] + total[1]) + (total[2] + total[3]);
  }
}

/// Sums of weight * value over one split, for the thread's dimensions; token by token in order.
template <int Queries>
COEL_DEVICE void mix_split(const attend_memory<Queries>& shared, const block_queries<Queries>& b,
                           uint32_t first, float (&mix)[Queries][dims_of_thread]) {
  const kv_view& c = b.args.cache;
  COEL_UNROLL
  for (int i = 0; i < Queries; ++i)
    COEL_UNROLL
  for (uint32_t e = 0; e < dims_of_thread; ++e)
    mix[i][e] = 0.f;
  uint32_t end = first + split_tokens < b.last ? first + split_tokens : b.last;
  for (uint32_t token = first; token < end; ++token) {
    const uint16_t* value = shared.key[token - first] + value_offset(c);
    COEL_UNROLL
    for (uint32_t e = 0; e < dims_of_thread; ++e) {
      uint32_t d = simt::thread() + e * attend_threads;
      if (d >= c.head_dim)
        continue;
      float v = simt::half_to_float(value[d]);
      COEL_UNROLL
      for (int i = 0; i < Queries; ++i)
        if (token < b.visible[i]) // what it does not see need not be a number
          mix[i][e] = simt::fma(shared.weight[i][token - first], v, mix[i][e]);
    }
  }
}

template <int Queries>
COEL_DEVICE void store_mix(const block_queries<Queries>& b, uint32_t i, const softmax& state,
                           const float (&mix)[dims_of_thread]) {
  const attend_args& a = b.args;
  uint32_t dims = a.cache.head_dim;
  float* part = nullptr;
  if (a.parts)
    part = a.parts + ((uint64_t{b.tile.first_part + i / b.group} * a.heads + b.head(i)) * a.splits +
                      simt::block_z()) *
                         (dims + 2);
  COEL_UNROLL
  for (uint32_t e = 0; e < dims_of_thread; ++e) {
    uint32_t d = simt::thread() + e * attend_threads;
    if (d < dims && part)
      part[d] = mix[e];
    else if (d < dims)
      a.out[b.offset(i) + d] = simt::divide(mix[e], state.total);
  }
  if (part && simt::thread() == 0) {
    part[dims] = state.largest;
    part[dims + 1] = state.total;
  }
}

/// Block (x, y, z): head group x of all key heads, tile y, split z or all of them.
template <int Queries>
COEL_DEVICE void attend(const attend_args& args) {
  COEL_SHARED(attend_memory<Queries>, shared);
  block_queries<Queries> b(args);
  for (uint32_t i = 0; i < b.count; ++i)
    for (uint32_t d = simt::thread(); d < args.cache.head_dim; d += attend_threads)
      shared.q[i][d] = args.q[b.offset(i) + d];
  simt::sync();
  softmax state[Queries] = {};
  float mix[Queries][dims_of_thread] = {};
  uint32_t begin = args.parts ? simt::block_z() * split_tokens : 0;
  uint32_t end = args.parts ? begin + 1 : b.last;
  for (uint32_t first = begin; first < end && first < b.last; first += split_tokens) {
    softmax part[Queries];
    float joining[Queries][dims_of_thread];
    weigh_split(shared, b, first, part);
    mix_split(shared, b, first, joining);
    COEL_UNROLL
    for (int i = 0; i < Queries; ++i) {
      if (first >= b.visible[i])
        continue;
      merge_factors f{0.f, 1.f};
      if (first == begin)
        state[i] = part[i];
      else
        f = merge(state[i], part[i]);
      COEL_UNROLL
      for (uint32_t e = 0; e < dims_of_thread; ++e)
        mix[i][e] = first == begin ? joining[i][e] : merged(mix[i][e], joining[i][e], f);
    }
    simt::sync();
  }
  COEL_UNROLL
  for (uint32_t i = 0; i < Queries; ++i)
    if (i < b.count && begin < b.visible[i])
      store_mix(b, i, state[i], mix[i]);
}

/// Block (x, y): head x of row y of the parts.
COEL_DEVICE void join_splits(const join_args& args) {
  const attend_row& r = args.table[args.rows[simt::block_y()]];
  uint32_t count = r.position / split_tokens + 1;
  uint64_t stride = args.head_dim + 2;
  const float* part = args.parts + (uint64_t{simt::block_y()} * args.heads + simt::block_x()) *
                                       args.splits * stride;
  float* out = args.out + (uint64_t{r.row} * args.heads + simt::block_x()) * args.head_dim;
  for (uint32_t d = simt::thread(); d < args.head_dim; d += attend_threads) {
    softmax state{part[args.head_dim], part[args.head_dim + 1]};
    float mix = part[d];
    for (uint32_t s = 1; s < count; ++s) {
      const float* p = part + s * stride;
      auto f = merge(state, {p[args.head_dim], p[args.head_dim + 1]});
      mix = merged(mix, p[d], f);
    }
    out[d] = simt::divide(mix, state.total);
  }
}

} // namespace coel::gpu
