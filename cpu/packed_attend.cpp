// Attention over f16 pages with an online softmax (Milakov and Gimelshein, 2018): up to eight
// queries that share a key head go through its pages together, sixteen tokens at a time.
#include "cpu/attend_plan.hpp"
#include "cpu/packed_set.hpp"

#include <cmath>
#include <limits>

namespace coel::cpu {

namespace {

struct query {
  const attend_row* row;
  uint32_t head;
};

/// Running softmax of one query.
struct running {
  float most = -std::numeric_limits<float>::infinity();
  float total = 0;
};

constexpr uint32_t group = 16;

/// Scores of `count` visible tokens become weights; what was summed so far shrinks to the new maximum.
void weigh(running& s, float* p, uint32_t count, float scale, float* acc, uint32_t head_dim) {
  std::fill(p + count, p + group, 0.f);
  if (count == 0)
    return;
  float most = s.most;
  for (uint32_t t = 0; t < count; ++t)
    most = std::max(most, p[t] *= scale);
  float shrink = std::exp(s.most - most);
  if (shrink != 1.f) {
    s.total *= shrink;
    for (uint32_t d = 0; d < head_dim; ++d)
      acc[d] *= shrink;
  }
  s.most = most;
  for (uint32_t t = 0; t < count; ++t)
    s.total += p[t] = std::exp(p[t] - most);
}

void attend_queries(const vector_kernels& k, const compute::attend& op, const query* queries, uint32_t n,
                    uint32_t kv_head, std::byte* memory) {
  const auto& cache = static_cast<const paged_kv&>(*op.cache);
  const auto& shape = cache.shape();
  uint32_t dims = shape.head_dim, last = 0;
  auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dims)));
  const float* q[max_queries];
  float* acc[max_queries];
  running state[max_queries];
  for (uint32_t i = 0; i < n; ++i) {
    q[i] = op.q.row(queries[i].row->row) + size_t{queries[i].head} * dims;
    acc[i] = reinterpret_cast<float*>(memory) + size_t{i} * dims;
    std::fill_n(acc[i], dims, 0.f);
    last = std::max(last, queries[i].row->position);
  }
  for (uint32_t first = 0; first <= last; first += group) {
    uint32_t page = queries[0].row->in->pages[first / shape.page_tokens], offset = first % shape.page_tokens;
    float p[max_queries][16];
    k.scores(cache.keys(page, op.layer, kv_head) + offset, shape.page_tokens, dims, q, n, p);
    for (uint32_t i = 0; i < n; ++i) {
      uint32_t position = queries[i].row->position;
      weigh(state[i], p[i], position < first ? 0 : std::min(group, position - first + 1), scale, acc[i], dims);
    }
    k.mix(cache.values(page, op.layer, kv_head) + size_t{offset} * dims, dims,
          std::min(group, last - first + 1), p, n, acc);
  }
  for (uint32_t i = 0; i < n; ++i) {
    float* out = op.out.row(queries[i].row->row) + size_t{queries[i].head} * dims;
    for (uint32_t d = 0; d < dims; ++d)
      out[d] = acc[i][d] / state[i].total;
  }
}

/// Queries of one tile: same segment, same key head.
struct query_tile {
  uint32_t first_row;      // in attend_rows
  uint32_t rows;
  uint32_t kv_head;
  uint32_t first_head, heads;
};

std::vector<query_tile> query_tiles(const compute::attend& op) {
  const auto& shape = op.cache->shape();
  uint32_t per_head = op.heads / shape.kv_heads;
  uint32_t heads = std::min(per_head, max_queries), rows = std::max(1u, max_queries / heads);
  std::vector<query_tile> tiles;
  uint32_t start = 0;
  for (const auto& s : op.segments) {
    for (uint32_t r = 0; r < s.count; r += rows)
      for (uint32_t h = 0; h < shape.kv_heads; ++h)
        for (uint32_t g = 0; g < per_head; g += heads)
          tiles.push_back({start + r, std::min(rows, s.count - r), h, h * per_head + g,
                           std::min(heads, per_head - g)});
    start += s.count;
  }
  return tiles;
}

} // namespace

void packed_set::plan(planner& out, const compute::attend& op) const {
  auto rows = std::make_shared<const std::vector<attend_row>>(attend_rows(op, out.ropes()));
  plan_store(out, op, rows, kernels_.to_halves);
  size_t bytes = size_t{max_queries} * op.cache->shape().head_dim * sizeof(float);
  size_t at = out.scratch(bytes * out.threads());
  auto tiles = query_tiles(op);
  size_t chunk = std::max<size_t>(1, tiles.size() / (size_t{out.threads()} * 16));
  out.add_chunks(tiles.size(), chunk,
                 [&op, &k = kernels_, rows, tiles, at, bytes](const tile_context& c, size_t begin, size_t end) {
                   for (size_t i = begin; i < end; ++i) {
                     const auto& t = tiles[i];
                     query queries[max_queries];
                     uint32_t n = 0;
                     for (uint32_t r = 0; r < t.rows; ++r)
                       for (uint32_t h = 0; h < t.heads; ++h)
                         queries[n++] = {&(*rows)[t.first_row + r], t.first_head + h};
                     attend_queries(k, op, queries, n, t.kv_head, c.scratch + at + c.worker * bytes);
                   }
                 });
}

} // namespace coel::cpu
