// Attention over f16 pages with an online softmax (Milakov and Gimelshein, 2018). A tile is some
// queries that share a key head; they go through its pages together, so that a page is read once.
#include "cpu/attend_plan.hpp"
#include "cpu/packed_set.hpp"

#include <cmath>
#include <limits>

namespace coel::cpu {

namespace {

constexpr uint32_t tile_queries = 16;

/// Queries [first_row, first_row + rows) x [first_head, first_head + heads): one segment, one key
/// head.
struct query_tile {
  uint32_t first_row; // in attend_rows
  uint32_t rows;
  uint32_t kv_head;
  uint32_t first_head;
  uint32_t heads;
};

std::vector<query_tile> query_tiles(const compute::attend& op) {
  const auto& shape = op.cache->shape();
  uint32_t per_kv = op.heads / shape.kv_heads;
  uint32_t heads = std::min(per_kv, tile_queries);
  uint32_t rows = tile_queries / heads;
  std::vector<query_tile> tiles;
  uint32_t start = 0;
  for (const auto& s : op.segments) {
    for (uint32_t h = 0; h < shape.kv_heads; ++h)
      for (uint32_t g = 0; g < per_kv; g += heads)
        for (uint32_t r = 0; r < s.count; r += rows)
          tiles.push_back({start + r, std::min(rows, s.count - r), h, h * per_kv + g,
                           std::min(heads, per_kv - g)});
    start += s.count;
  }
  return tiles;
}

/// The states of a tile, whose mix is summed up where the output goes.
struct query_group {
  std::array<query_state, tile_queries> states;
  std::array<uint32_t, tile_queries> positions;
  uint32_t count = 0;
  uint32_t last_position = 0;

  query_group(const compute::attend& op, const query_tile& tile,
              const std::vector<attend_row>& rows) {
    uint32_t dims = op.cache->shape().head_dim;
    for (uint32_t r = 0; r < tile.rows; ++r)
      for (uint32_t h = 0; h < tile.heads; ++h, ++count) {
        const auto& row = rows[tile.first_row + r];
        size_t at = size_t{tile.first_head + h} * dims;
        states[count] = {op.q.row(row.row) + at, op.out.row(row.row) + at,
                         -std::numeric_limits<float>::infinity(), 0.f, 0};
        positions[count] = row.position;
        last_position = std::max(last_position, row.position);
        std::fill_n(states[count].mix, dims, 0.f);
      }
  }

  void show(uint32_t first_token, uint32_t tokens) {
    for (uint32_t i = 0; i < count; ++i)
      states[i].visible =
          positions[i] < first_token ? 0 : std::min(tokens, positions[i] - first_token + 1);
  }

  void finish(uint32_t dims) const {
    for (uint32_t i = 0; i < count; ++i)
      for (uint32_t d = 0; d < dims; ++d)
        states[i].mix[d] /= states[i].total;
  }
};

void run_tile(const vector_kernels& k, const compute::attend& op, const query_tile& tile,
              const std::vector<attend_row>& rows) {
  const auto& cache = static_cast<const paged_kv&>(*op.cache);
  const auto& shape = cache.shape();
  auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  uint32_t tokens = shape.page_tokens % most_chunk_tokens == 0 ? most_chunk_tokens : 16;
  const auto& pages = rows[tile.first_row].in->pages;
  query_group group(op, tile, rows);
  for (uint32_t first = 0; first <= group.last_position; first += tokens) {
    uint32_t page = pages[first / shape.page_tokens];
    uint32_t offset = first % shape.page_tokens;
    kv_chunk chunk{cache.keys(page, op.layer, tile.kv_head) + offset,
                   cache.values(page, op.layer, tile.kv_head) + size_t{offset} * shape.head_dim,
                   shape.page_tokens, tokens};
    group.show(first, tokens);
    k.attend(chunk, shape.head_dim, scale, group.states.data(), group.count);
  }
  group.finish(shape.head_dim);
}

} // namespace

void packed_set::plan(planner& out, const compute::attend& op) const {
  if (op.cache->shape().head_dim % 16 != 0)
    return reference_kernels().plan(out, op);
  auto rows = std::make_shared<const std::vector<attend_row>>(attend_rows(op, out.ropes()));
  plan_store(out, op, rows, kernels_.to_f16);
  auto tiles = query_tiles(op);
  out.add(tiles.size(), [&op, &k = kernels_, rows, tiles](const tile_context&, uint32_t tile) {
    run_tile(k, op, tiles[tile], *rows);
  });
}

} // namespace coel::cpu
