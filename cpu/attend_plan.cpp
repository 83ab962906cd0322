#include "cpu/attend_plan.hpp"

namespace coel::cpu {

namespace {

struct slot {
  uint32_t page;
  uint32_t offset; // inside the page
};

slot slot_of(const attend_row& r, uint32_t page_tokens) {
  return {r.in->pages[r.position / page_tokens], r.position % page_tokens};
}

void store_row(const compute::attend& op, const attend_row& r, f16_converter to_f16) {
  const auto& cache = static_cast<const paged_kv&>(*op.cache);
  const auto& shape = cache.shape();
  auto [page, offset] = slot_of(r, shape.page_tokens);
  std::vector<uint16_t> half(shape.head_dim);
  for (uint32_t h = 0; h < shape.kv_heads; ++h) {
    to_f16(op.k.row(r.row) + size_t{h} * shape.head_dim, half.data(), shape.head_dim);
    uint16_t* keys = cache.keys(page, op.layer, h) + offset;
    for (uint32_t d = 0; d < shape.head_dim; ++d)
      keys[size_t{d} * shape.page_tokens] = half[d];
    to_f16(op.v.row(r.row) + size_t{h} * shape.head_dim,
           cache.values(page, op.layer, h) + size_t{offset} * shape.head_dim, shape.head_dim);
  }
}

void rotate_row(const compute::attend& op, const attend_row& r) {
  const auto& shape = op.cache->shape();
  for (uint32_t h = 0; h < op.heads; ++h)
    rotate(op.q.row(r.row) + size_t{h} * shape.head_dim, op.rope, r.angles);
  for (uint32_t h = 0; h < shape.kv_heads; ++h)
    rotate(op.k.row(r.row) + size_t{h} * shape.head_dim, op.rope, r.angles);
}

} // namespace

std::vector<attend_row> attend_rows(const compute::attend& op, rope_tables& ropes) {
  std::vector<attend_row> rows;
  for (const auto& s : op.segments)
    for (uint32_t i = 0; i < s.count; ++i) {
      uint32_t position = s.position + i;
      rows.push_back(
          {&s, s.first_row + i, position, op.rope.dims ? ropes.at(op.rope, position) : nullptr});
    }
  return rows;
}

void plan_store(planner& out, const compute::attend& op,
                const std::shared_ptr<const std::vector<attend_row>>& rows, f16_converter to_f16) {
  out.add_chunks(rows->size(), 4,
                 [&op, rows, to_f16](const tile_context&, size_t begin, size_t end) {
                   for (size_t i = begin; i < end; ++i) {
                     rotate_row(op, (*rows)[i]);
                     store_row(op, (*rows)[i], to_f16);
                   }
                 });
}

} // namespace coel::cpu
