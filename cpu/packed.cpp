#include "cpu/packed.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace coel::cpu {

namespace {

using compute::matrix_view;

/// The 16 rows of a panel at one unit of columns; rows past the end read as zeros.
struct unit_rows {
  std::array<const uint8_t*, panel_rows> row;
};

constexpr std::array<uint8_t, 1024> zeros{};

/// Codes of one 32-column block of 16 rows, one byte each, before interleaving.
using codes = std::array<std::array<uint8_t, block_cols>, panel_rows>;

void put_nibbles(const codes& c, uint8_t* to) {
  for (uint32_t j = 0; j < 4; ++j)
    for (uint32_t r = 0; r < panel_rows; ++r)
      for (uint32_t i = 0; i < 4; ++i)
        to[64 * j + 4 * r + i]
            = static_cast<uint8_t>((c[r][8 * j + i] & 15) | (c[r][8 * j + 4 + i] & 15) << 4);
}

/// Bits [shift, shift + width) of columns [first, first + 32/width...) packed into 64 bytes.
void put_bits(const codes& c, uint32_t first, uint32_t columns, uint32_t shift, uint32_t width,
              uint8_t* to) {
  std::memset(to, 0, 64);
  uint8_t mask = static_cast<uint8_t>((1u << width) - 1);
  for (uint32_t r = 0; r < panel_rows; ++r)
    for (uint32_t col = 0; col < columns; ++col)
      to[4 * r + col % 4] |= static_cast<uint8_t>(((c[r][first + col] >> shift) & mask) << (col / 4 * width));
}

void pack_q4_0(const unit_rows& u, uint8_t* to) {
  codes c;
  for (uint32_t r = 0; r < panel_rows; ++r) {
    std::memcpy(to + 2 * r, u.row[r], 2);
    for (uint32_t i = 0; i < 16; ++i) {
      c[r][i] = u.row[r][2 + i] & 15;
      c[r][16 + i] = u.row[r][2 + i] >> 4;
    }
  }
  put_nibbles(c, to + 32);
}

void pack_q8_0(const unit_rows& u, uint8_t* to) {
  for (uint32_t r = 0; r < panel_rows; ++r) {
    std::memcpy(to + 2 * r, u.row[r], 2);
    for (uint32_t col = 0; col < block_cols; ++col)
      to[32 + 64 * (col / 4) + 4 * r + col % 4] = u.row[r][2 + col] ^ 0x80;
  }
}

/// Scale and min of sub-block j of a q4_k or q5_k super-block (12 bytes of 6-bit fields).
void k_scale_min(const uint8_t* s, uint32_t j, uint8_t& scale, uint8_t& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = static_cast<uint8_t>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
    min = static_cast<uint8_t>((s[j + 4] >> 4) | (s[j] >> 6) << 4);
  }
}

/// q4_k: d, dmin, 12 scale bytes, 128 nibble bytes. q5_k: 32 bytes of fifth bits before the nibbles.
void pack_k45(const unit_rows& u, bool five, uint8_t* to) {
  for (uint32_t r = 0; r < panel_rows; ++r) {
    std::memcpy(to + 2 * r, u.row[r], 2);
    std::memcpy(to + 32 + 2 * r, u.row[r] + 2, 2);
  }
  to += 64;
  for (uint32_t b = 0; b < 8; ++b, to += five ? 352 : 288) {
    codes c;
    for (uint32_t r = 0; r < panel_rows; ++r) {
      k_scale_min(u.row[r] + 4, b, to[r], to[16 + r]);
      const uint8_t* nibbles = u.row[r] + 16 + (five ? 32 : 0) + 32 * (b / 2);
      for (uint32_t i = 0; i < 32; ++i) {
        uint32_t q = b % 2 ? nibbles[i] >> 4 : nibbles[i] & 15;
        if (five)
          q |= ((u.row[r][16 + i] >> b) & 1u) << 4;
        c[r][i] = static_cast<uint8_t>(q);
      }
    }
    put_nibbles(c, to + 32);
    if (five)
      put_bits(c, 0, 32, 4, 1, to + 288);
  }
}

/// q6_k: 128 bytes of low nibbles, 64 of high bit pairs, 16 scales, d.
void pack_q6_k(const unit_rows& u, uint8_t* to) {
  for (uint32_t r = 0; r < panel_rows; ++r)
    std::memcpy(to + 2 * r, u.row[r] + 208, 2);
  to += 32;
  for (uint32_t b = 0; b < 8; ++b, to += 416) {
    codes c;
    uint32_t half = b / 4, quarter = b % 4;
    for (uint32_t r = 0; r < panel_rows; ++r) {
      const uint8_t* low = u.row[r] + 64 * half + (quarter % 2 ? 32 : 0);
      const uint8_t* high = u.row[r] + 128 + 32 * half;
      for (uint32_t i = 0; i < 32; ++i) {
        uint32_t nibble = quarter < 2 ? low[i] & 15 : low[i] >> 4;
        c[r][i] = static_cast<uint8_t>(nibble | ((high[i] >> (2 * quarter)) & 3) << 4);
      }
      to[r] = u.row[r][192 + 2 * b];
      to[16 + r] = u.row[r][192 + 2 * b + 1];
    }
    put_nibbles(c, to + 32);
    put_bits(c, 0, 16, 4, 2, to + 288);
    put_bits(c, 16, 16, 4, 2, to + 352);
  }
}

void pack_float(const unit_rows& u, uint32_t bytes, uint8_t* to) {
  for (uint32_t r = 0; r < panel_rows; ++r)
    std::memcpy(to + bytes * r, u.row[r], bytes);
}

} // namespace

panel_geometry geometry(dtype type) {
  switch (type) {
    case dtype::q4_0: return {32, 288};
    case dtype::q8_0: return {32, 544};
    case dtype::q4_k: return {256, 64 + 8 * 288};
    case dtype::q5_k: return {256, 64 + 8 * 352};
    case dtype::q6_k: return {256, 32 + 8 * 416};
    case dtype::f32: return {1, 64};
    default: return {1, 32};
  }
}

void pack_panel(const matrix_view& from, uint64_t index, std::byte* to) {
  auto g = geometry(from.type);
  uint64_t step = row_bytes(from.type, g.unit_cols);
  auto* out = reinterpret_cast<uint8_t*>(to);
  for (uint64_t unit = 0; unit < from.cols / g.unit_cols; ++unit, out += g.unit_bytes) {
    unit_rows u;
    for (uint32_t r = 0; r < panel_rows; ++r) {
      uint64_t row = index * panel_rows + r;
      u.row[r] = row < from.rows ? reinterpret_cast<const uint8_t*>(from.row(row)) + unit * step
                                 : zeros.data();
    }
    switch (from.type) {
      case dtype::q4_0: pack_q4_0(u, out); break;
      case dtype::q8_0: pack_q8_0(u, out); break;
      case dtype::q4_k: pack_k45(u, false, out); break;
      case dtype::q5_k: pack_k45(u, true, out); break;
      case dtype::q6_k: pack_q6_k(u, out); break;
      case dtype::f32: pack_float(u, 4, out); break;
      default: pack_float(u, 2, out); break;
    }
  }
}

result<compute::weight_ptr> pack(const matrix_view& from, const budget_ptr& memory) {
  uint64_t panels = (from.rows + panel_rows - 1) / panel_rows;
  uint64_t size = panel_bytes(from.type, static_cast<uint32_t>(from.cols));
  auto packed = block::make(panels * size, "weights", memory);
  if (!packed)
    return packed.err();
  for (uint64_t p = 0; p < panels; ++p)
    pack_panel(from, p, packed->data() + p * size);
  return compute::weight_ptr(std::make_shared<packed_weight>(
      from.type, static_cast<uint32_t>(from.rows), static_cast<uint32_t>(from.cols), std::move(*packed)));
}

} // namespace coel::cpu
