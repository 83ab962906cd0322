// The light operations, alike for every kernel set.
#include "compute/quant.hpp"
#include "cpu/planner.hpp"

#include <array>
#include <cmath>
#include <cstring>

namespace coel::cpu {

namespace {

using compute::rows_f32;

/// Rows of one tile, so that it takes some microseconds.
size_t chunk_rows(uint32_t cols) {
  return 16384 / std::max<uint32_t>(cols, 1) + 1;
}

/// Sum of squares in eight strands, an order that a vector unit can keep without being told.
double sum_of_squares(const float* x, uint32_t n) {
  std::array<double, 8> strands{};
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (uint32_t s = 0; s < 8; ++s)
      strands[s] += double{x[i + s]} * double{x[i + s]};
  for (; i < n; ++i)
    strands[i % 8] += double{x[i]} * double{x[i]};
  double sum = 0;
  for (double s : strands)
    sum += s;
  return sum;
}

void normalise(const compute::rms_norm& op, uint32_t r) {
  const float* in = op.in.row(r);
  float* out = op.out.row(r);
  double mean = sum_of_squares(in, op.in.cols) / op.in.cols;
  auto factor = static_cast<float>(1.0 / std::sqrt(mean + double{op.eps}));
  for (uint32_t c = 0; c < op.in.cols; ++c)
    out[c] = in[c] * factor * op.gain[c];
}

/// Index of the largest logit not yet chosen, the first of equals; NaN loses to everything.
uint32_t best_left(const float* logits, uint32_t n, const std::vector<bool>& chosen) {
  uint32_t best = n;
  for (uint32_t i = 0; i < n; ++i)
    if (!chosen[i] && (best == n || logits[i] > logits[best] ||
                       (std::isnan(logits[best]) && !std::isnan(logits[i]))))
      best = i;
  return best;
}

void choose(const compute::route& op, uint32_t r) {
  const float* logits = op.logits.row(r);
  uint32_t n = op.logits.cols;
  int32_t* ids = op.ids + size_t{r} * op.top_k;
  float* weights = op.weights + size_t{r} * op.top_k;
  std::vector<bool> chosen(n);
  for (uint32_t k = 0; k < op.top_k; ++k) {
    uint32_t best = best_left(logits, n, chosen);
    chosen[best] = true;
    ids[k] = static_cast<int32_t>(best);
  }
  double largest = logits[ids[0]];
  auto mass = [&](uint32_t i) { return std::exp(logits[i] - largest); };
  double total = 0;
  for (uint32_t i = 0; i < n; ++i)
    if (!op.renormalise || chosen[i])
      total += mass(i);
  for (uint32_t k = 0; k < op.top_k; ++k)
    weights[k] = static_cast<float>(mass(static_cast<uint32_t>(ids[k])) / total);
}

void copy_row(const rows_f32& in, uint32_t from, const rows_f32& out, size_t to) {
  std::memcpy(out.row(static_cast<uint32_t>(to)), in.row(from), size_t{in.cols} * sizeof(float));
}

} // namespace

void plan(planner& out, const compute::embed& op) {
  const auto& table = static_cast<const view_weight*>(op.table)->view();
  out.add_chunks(op.out.rows, chunk_rows(op.out.cols),
                 [&op, &table](const tile_context&, size_t begin, size_t end) {
                   for (size_t i = begin; i < end; ++i)
                     compute::dequantise_row(table.type,
                                             table.row(static_cast<uint64_t>(op.tokens[i])),
                                             op.out.row(static_cast<uint32_t>(i)), table.cols);
                 });
}

void plan(planner& out, const compute::rms_norm& op) {
  out.add_chunks(op.in.rows, chunk_rows(op.in.cols),
                 [&op](const tile_context&, size_t begin, size_t end) {
                   for (size_t r = begin; r < end; ++r)
                     normalise(op, static_cast<uint32_t>(r));
                 });
}

void plan(planner& out, const compute::route& op) {
  out.add_chunks(op.logits.rows, 8, [&op](const tile_context&, size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      choose(op, static_cast<uint32_t>(r));
  });
}

void plan(planner& out, const compute::sigmoid& op) {
  out.add_chunks(size_t{op.x.rows} * op.x.cols, 1024,
                 [&op](const tile_context&, size_t begin, size_t end) {
                   for (size_t i = begin; i < end; ++i)
                     op.x.data[i] = 1.f / (1.f + std::exp(-op.x.data[i]));
                 });
}

void plan(planner& out, const compute::gather& op) {
  out.add_chunks(op.rows.size(), chunk_rows(op.in.cols),
                 [&op](const tile_context&, size_t begin, size_t end) {
                   for (size_t i = begin; i < end; ++i)
                     copy_row(op.in, op.rows[i], op.out, i);
                 });
}

void plan(planner& out, const compute::add& op) {
  out.add_chunks(size_t{op.in.rows} * op.in.cols, 32768,
                 [&op](const tile_context&, size_t begin, size_t end) {
                   for (size_t i = begin; i < end; ++i)
                     op.out.data[i] += op.in.data[i];
                 });
}

} // namespace coel::cpu
