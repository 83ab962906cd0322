// Attention: rows of the batch with their pages, tiles of queries that share a key head, and
// whether a history is gone through by one block or by one for each split.
#include "gpu/plan.hpp"

#include <cmath>

namespace coel::gpu {

namespace {

constexpr uint32_t most_queries = 1u << (tile_sizes - 1);

/// More parts than this are not kept: long prompts have blocks enough without them.
constexpr uint64_t most_part_bytes = uint64_t{64} << 20;

} // namespace

/// Tiles of one size.
struct planner::tile_bucket {
  uint32_t size = 0; ///< index of tile_sizes
  std::vector<attend_tile> tiles;
  std::vector<uint32_t> rows; ///< of the table
  uint32_t splits = 0;        ///< of the longest history
};

void planner::attend_bucket(const compute::attend& op, attend_args args,
                            const tile_bucket& bucket) {
  const auto& c = args.cache;
  uint32_t of_kv = op.heads / c.kv_heads;
  uint32_t groups = (of_kv + args.group - 1) / args.group;
  grid blocks{c.kv_heads * groups, static_cast<uint32_t>(bucket.tiles.size())};
  uint64_t floats = uint64_t{bucket.rows.size()} * op.heads * bucket.splits * (c.head_dim + 2);
  bool few = uint64_t{blocks.x} * blocks.y < uint64_t{2} * context_.multiprocessors;
  bool cut = few && bucket.splits > 1 && floats * sizeof(float) <= most_part_bytes;
  if (cut) {
    args.parts = scratch(floats);
    args.splits = blocks.z = bucket.splits;
  }
  args.tiles = table(bucket.tiles);
  launch(sized(kernel::attend_1, bucket.size), blocks, args);
  if (cut)
    launch(kernel::join_splits, {op.heads, static_cast<uint32_t>(bucket.rows.size())},
           join_args{args.parts, table(bucket.rows), args.table, op.out.data, op.heads, c.head_dim,
                     bucket.splits});
}

void planner::plan(const compute::attend& op) {
  auto cache = static_cast<const card_kv*>(op.cache)->view();
  uint32_t group = std::min(op.heads / cache.kv_heads, most_queries);
  uint32_t tile_rows = most_queries / group;
  std::vector<attend_row> rows;
  std::array<tile_bucket, tile_sizes> buckets;
  for (const auto& s : op.segments) {
    const uint32_t* pages = table(s.pages);
    auto start = static_cast<uint32_t>(rows.size());
    for (uint32_t i = 0; i < s.count; ++i) {
      attend_row r{nullptr, pages, s.first_row + i, s.position + i};
      if (op.rope.dims) {
        r.angles = context_.angles(op.rope, r.position);
        if (!r.angles)
          refusal_ = "attend: no memory for the angles of position " + std::to_string(r.position);
      }
      rows.push_back(r);
    }
    for (uint32_t i = 0; i < s.count; i += tile_rows) {
      uint32_t count = std::min(tile_rows, s.count - i);
      auto& b = buckets[size_index(count * group)];
      b.tiles.push_back({start + i, count, static_cast<uint32_t>(b.rows.size())});
      for (uint32_t r = start + i; r < start + i + count; ++r) {
        b.rows.push_back(r);
        b.splits = std::max(b.splits, rows[r].position / split_tokens + 1);
      }
    }
  }
  const attend_row* on_card = table(rows);
  auto count = static_cast<uint32_t>(rows.size());
  launch(kernel::rotate_and_store,
         {(op.heads + 2 * cache.kv_heads + attend_warps - 1) / attend_warps, count},
         rotate_args{op.q.data, op.k.data, op.v.data, on_card, cache, count, op.layer, op.heads,
                     op.rope.dims, op.rope.style == compute::rope_style::interleaved});
  attend_args args;
  args.q = op.q.data;
  args.out = op.out.data;
  args.table = on_card;
  args.cache = cache;
  args.layer = op.layer;
  args.heads = op.heads;
  args.group = group;
  args.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(cache.head_dim)));
  for (uint32_t size = 0; size < tile_sizes; ++size) {
    buckets[size].size = size;
    attend_bucket(op, args, buckets[size]);
  }
}

} // namespace coel::gpu
