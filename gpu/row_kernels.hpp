// The light operations, row by row: quantisation of inputs, norms, SwiGLU, sums over experts,
// routing, look-up and copies.
#pragma once

#include "gpu/args.hpp"
#include "gpu/elements.hpp"
#include "gpu/simt.hpp"

namespace coel::gpu {

inline constexpr uint32_t row_threads = 256;
inline constexpr uint32_t row_warps = row_threads / simt::warp_lanes;

/// This warp's number among all of the launch.
COEL_DEVICE uint64_t warp_number() {
  return uint64_t{simt::block_x()} * row_warps + simt::warp();
}
COEL_DEVICE uint64_t thread_number() {
  return uint64_t{simt::block_x()} * row_threads + simt::thread();
}

/// One block of 32 by one warp: lane = column.
COEL_DEVICE void store_block(const int8_rows& out, uint64_t block, float x) {
  float most = simt::largest_of_warp(x < 0 ? -x : x);
  float inverse = most > 0 ? simt::divide(127.f, most) : 0.f;
  int32_t q = simt::to_int(x * inverse);
  int32_t sum = simt::sum_of_warp(q);
  float scale = simt::divide(most, 127.f);
  uint32_t c = simt::lane();
  uint32_t at = c % 16 / 4 * 8 + c / 16 * 4 + c % 4;
  out.q[block * 32 + at] = static_cast<std::byte>(q);
  if (c == 0) {
    out.scale[block] = scale;
    out.sum[block] = scale * static_cast<float>(sum);
  }
}

/// A warp takes a block.
COEL_DEVICE void quantise(const quantise_args& args) {
  uint64_t block = warp_number();
  if (block >= uint64_t{args.rows} * args.out.blocks)
    return;
  store_block(args.out, block, args.in[block * 32 + simt::lane()]);
}

/// A warp takes 32 columns of a row.
COEL_DEVICE void swiglu(const swiglu_args& args) {
  uint32_t blocks = (args.cols + 31) / 32;
  uint64_t number = warp_number();
  if (number >= uint64_t{args.rows} * blocks)
    return;
  auto column = static_cast<uint32_t>(number % blocks) * 32 + simt::lane();
  uint64_t at = number / blocks * args.cols + column;
  float h = 0.f;
  if (column < args.cols) {
    float g = args.gate[at];
    h = simt::divide(g, 1.f + simt::exponential(-g)) * args.up[at];
    if (args.out)
      args.out[at] = h;
  }
  if (args.quantised.q)
    store_block(args.quantised, number, h); // cols is a multiple of 32 then
}

/// A thread takes a column, a block in y a row.
COEL_DEVICE void combine(const combine_args& args) {
  uint64_t column = thread_number();
  uint32_t i = simt::block_y();
  if (column >= args.cols)
    return;
  float* to = args.out + uint64_t{args.row[i]} * args.cols + column;
  float sum = *to;
  for (uint32_t s = args.first[i]; s < args.first[i + 1]; ++s) {
    const share& part = args.shares[s];
    float factor = part.factor ? *part.factor : part.weight;
    sum = simt::fma(factor, args.slots[uint64_t{part.slot} * args.cols + column], sum);
  }
  *to = sum;
}

struct norm_memory {
  float part[row_warps];
};

/// A block takes a row.
COEL_DEVICE void norm(const norm_args& args) {
  COEL_SHARED(norm_memory, shared);
  const float* in = args.in + uint64_t{simt::block_x()} * args.cols;
  float* out = args.out + uint64_t{simt::block_x()} * args.cols;
  float square = 0.f;
  for (uint32_t c = simt::thread(); c < args.cols; c += row_threads)
    square = simt::fma(in[c], in[c], square);
  square = simt::sum_of_warp(square);
  if (simt::lane() == 0)
    shared.part[simt::warp()] = square;
  simt::sync();
  float sum = 0.f;
  for (uint32_t w = 0; w < row_warps; ++w)
    sum += shared.part[w];
  float mean = simt::divide(sum, static_cast<float>(args.cols));
  float factor = simt::divide(1.f, simt::square_root(mean + args.eps));
  for (uint32_t c = simt::thread(); c < args.cols; c += row_threads)
    out[c] = in[c] * factor * args.gain[c];
}

/// The same for short rows (heads): a warp takes one.
COEL_DEVICE void norm_short(const norm_args& args) {
  uint64_t row = warp_number();
  if (row >= args.rows)
    return;
  const float* in = args.in + row * args.cols;
  float* out = args.out + row * args.cols;
  float square = 0.f;
  for (uint32_t c = simt::lane(); c < args.cols; c += simt::warp_lanes)
    square = simt::fma(in[c], in[c], square);
  float mean = simt::divide(simt::sum_of_warp(square), static_cast<float>(args.cols));
  float factor = simt::divide(1.f, simt::square_root(mean + args.eps));
  for (uint32_t c = simt::lane(); c < args.cols; c += simt::warp_lanes)
    out[c] = in[c] * factor * args.gain[c];
}

/// Whether candidate a comes before b: the larger, NaN last, the smaller id of equals; no_expert
/// after everything.
inline constexpr uint32_t no_expert = 0xffffffffu;
struct candidate {
  float logit;
  uint32_t id;
};
COEL_DEVICE bool before(const candidate& a, const candidate& b) {
  if (a.id == no_expert || b.id == no_expert)
    return a.id < b.id;
  bool a_nan = a.logit != a.logit;
  bool b_nan = b.logit != b.logit;
  if (a_nan || b_nan)
    return a_nan == b_nan ? a.id < b.id : b_nan;
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}
COEL_DEVICE candidate best_of_warp(candidate best) {
  for (uint32_t step = 16; step > 0; step /= 2) {
    candidate other{simt::shuffle_xor(best.logit, step), simt::shuffle_xor(best.id, step)};
    if (before(other, best))
      best = other;
  }
  return best;
}

inline constexpr uint32_t most_top_k = simt::warp_lanes;

/// A warp takes a row. What was chosen before is what does not come after the last choice.
COEL_DEVICE void route(const route_args& args) {
  uint64_t row = warp_number();
  if (row >= args.rows)
    return;
  const float* logits = args.logits + row * args.experts;
  int32_t* ids = args.ids + row * args.top_k;
  float* weights = args.weights + row * args.top_k;
  candidate last{0.f, 0};
  float largest = 0.f;
  float chosen = 0.f;
  float own = 0.f; // of choice number `lane`
  for (uint32_t k = 0; k < args.top_k; ++k) {
    candidate best{0.f, no_expert};
    for (uint32_t e = simt::lane(); e < args.experts; e += simt::warp_lanes) {
      candidate c{logits[e], e};
      if ((k == 0 || before(last, c)) && before(c, best))
        best = c;
    }
    last = best_of_warp(best);
    if (k == 0)
      largest = last.logit;
    float mass = simt::exponential(last.logit - largest);
    chosen += mass;
    if (simt::lane() == k) {
      ids[k] = static_cast<int32_t>(last.id);
      own = mass;
    }
  }
  float total = 0.f;
  for (uint32_t e = simt::lane(); e < args.experts; e += simt::warp_lanes)
    total += simt::exponential(logits[e] - largest);
  total = simt::sum_of_warp(total);
  if (simt::lane() < args.top_k)
    weights[simt::lane()] = simt::divide(own, args.renormalise ? chosen : total);
}

/// A thread takes an element; a block in y a row.
COEL_DEVICE void embed(const embed_args& args) {
  uint64_t column = thread_number();
  uint32_t i = simt::block_y();
  if (column >= args.cols)
    return;
  const std::byte* row = args.table + static_cast<uint64_t>(args.tokens[i]) * args.row_bytes;
  args.out[uint64_t{i} * args.cols + column] =
      element(args.type, row, static_cast<uint32_t>(column));
}

COEL_DEVICE void gather(const gather_args& args) {
  uint64_t column = thread_number();
  uint32_t i = simt::block_y();
  if (column < args.cols)
    args.out[uint64_t{i} * args.cols + column] =
        args.in[uint64_t{args.rows_in[i]} * args.cols + column];
}

COEL_DEVICE void add(const elements_args& args) {
  if (thread_number() < args.count)
    args.out[thread_number()] += args.in[thread_number()];
}

COEL_DEVICE void sigmoid(const elements_args& args) {
  if (thread_number() < args.count)
    args.out[thread_number()] =
        simt::divide(1.f, 1.f + simt::exponential(-args.in[thread_number()]));
}

} // namespace coel::gpu
