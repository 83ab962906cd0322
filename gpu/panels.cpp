#include "gpu/panels.hpp"

#include <array>
#include <cstring>

namespace coel::gpu {

namespace {

using bytes = const std::byte*;

/// The same block of the panel's 16 rows; rows beyond the matrix read as zeros.
struct block_rows {
  std::array<bytes, panel_rows> row;

  const std::byte* pair(uint32_t g, uint32_t which) const { return row[g + 8 * which]; }
};

void copy(std::byte*& out, bytes from, size_t n) {
  std::memcpy(out, from, n);
  out += n;
}

/// A run of 32 bytes at `offset` of each row: words t and 4 + t of rows g and g + 8, by lane.
void put_run(std::byte*& out, const block_rows& b, size_t offset) {
  for (uint32_t g = 0; g < 8; ++g)
    for (uint32_t t = 0; t < 4; ++t)
      for (uint32_t word : {t, 4 + t})
        for (uint32_t which : {0u, 1u})
          copy(out, b.pair(g, which) + offset + 4 * size_t{word}, 4);
}

/// The f16 at `offset` of each row, in pairs of rows.
void put_pairs(std::byte*& out, const block_rows& b, size_t offset) {
  for (uint32_t g = 0; g < 8; ++g)
    for (uint32_t which : {0u, 1u})
      copy(out, b.pair(g, which) + offset, 2);
}

void put_q4_0(std::byte* out, const block_rows& b) {
  for (uint32_t g = 0; g < 8; ++g)
    for (uint32_t t = 0; t < 4; ++t)
      for (uint32_t which : {0u, 1u})
        copy(out, b.pair(g, which) + 2 + 4 * size_t{t}, 4);
  put_pairs(out, b, 0);
}

void put_q8_0(std::byte* out, const block_rows& b) {
  put_run(out, b, 2);
  put_pairs(out, b, 0);
}

struct scale_min {
  uint8_t scale, min;
};

/// Six bits each of sub-block j, as compute/quant.cpp reads them.
scale_min k_scale(bytes s, uint32_t j) {
  auto at = [s](uint32_t i) { return std::to_integer<uint32_t>(s[i]); };
  if (j < 4)
    return {static_cast<uint8_t>(at(j) & 63), static_cast<uint8_t>(at(j + 4) & 63)};
  return {static_cast<uint8_t>((at(j + 4) & 15) | (at(j - 4) >> 6) << 4),
          static_cast<uint8_t>((at(j + 4) >> 4) | (at(j) >> 6) << 4)};
}

void put_k_scales(std::byte*& out, const block_rows& b) {
  for (uint32_t g = 0; g < 8; ++g)
    for (uint32_t j = 0; j < 8; ++j)
      for (uint32_t which : {0u, 1u}) {
        auto [scale, min] = k_scale(b.pair(g, which) + 4, j);
        *out++ = std::byte{scale};
        *out++ = std::byte{min};
      }
  for (uint32_t g = 0; g < 8; ++g)
    for (uint32_t which : {0u, 1u})
      copy(out, b.pair(g, which), 4); // d and dmin
}

void put_q4_k(std::byte* out, const block_rows& b) {
  for (size_t group = 0; group < 4; ++group)
    put_run(out, b, 16 + 32 * group);
  put_k_scales(out, b);
}

void put_q5_k(std::byte* out, const block_rows& b) {
  put_run(out, b, 16);
  for (size_t group = 0; group < 4; ++group)
    put_run(out, b, 48 + 32 * group);
  put_k_scales(out, b);
}

void put_q6_k(std::byte* out, const block_rows& b) {
  for (size_t half : {0, 1}) {
    put_run(out, b, 64 * half);
    put_run(out, b, 64 * half + 32);
    put_run(out, b, 128 + 32 * half);
  }
  for (uint32_t g = 0; g < 8; ++g)
    for (size_t run = 0; run < 8; ++run)
      for (uint32_t which : {0u, 1u})
        copy(out, b.pair(g, which) + 192 + 2 * run, 2);
  put_pairs(out, b, 208);
}

void put_unit(dtype type, std::byte* out, const block_rows& b) {
  switch (type) {
  case dtype::q8_0:
    return put_q8_0(out, b);
  case dtype::q4_0:
    return put_q4_0(out, b);
  case dtype::q4_k:
    return put_q4_k(out, b);
  case dtype::q5_k:
    return put_q5_k(out, b);
  case dtype::q6_k:
    return put_q6_k(out, b);
  default:
    return;
  }
}

} // namespace

void pack_panel(const compute::matrix_view& from, uint64_t panel, std::byte* out) {
  static constexpr std::array<std::byte, 256> zeros{};
  auto unit = unit_of(from.type);
  size_t block = info(from.type).block_bytes;
  for (uint64_t u = 0; u < from.cols / unit.cols; ++u) {
    block_rows b;
    for (uint64_t r = 0; r < panel_rows; ++r) {
      uint64_t row = panel * panel_rows + r;
      b.row[r] = row < from.rows ? from.row(row) + u * block : zeros.data();
    }
    put_unit(from.type, out + u * unit.bytes, b);
  }
}

} // namespace coel::gpu
