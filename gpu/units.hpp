// A piece of a panel's unit in the registers of a warp (panels.hpp has the layout): its signed
// bytes as operands of multiply_32, and the scales of the lane's two rows. A piece is what one load
// of 16 bytes a lane brings: a block of 32 columns, or two of a k-quant's eight, which share their
// bytes.
#pragma once

#include "gpu/panels.hpp"

namespace coel::gpu {

using simt::words2;
using simt::words4;

/// Scales of rows g and g + 8.
struct row_pair {
  float low, high;
};

COEL_DEVICE row_pair halves(uint32_t bits) {
  return {simt::half_to_float(static_cast<uint16_t>(bits)),
          simt::half_to_float(static_cast<uint16_t>(bits >> 16))};
}
COEL_DEVICE float byte_of(uint32_t word, uint32_t i) {
  return static_cast<float>((word >> (8 * i)) & 255u);
}
COEL_DEVICE float signed_byte_of(uint32_t word, uint32_t i) {
  return static_cast<float>(static_cast<int8_t>(word >> (8 * i)));
}
COEL_DEVICE uint32_t nibbles(uint32_t bytes, uint32_t high) {
  return (bytes >> (4 * high)) & 0x0f0f0f0fu;
}
/// Four unsigned bytes below 64, each less `n` (8 or 32): the top bits keep borrows apart.
COEL_DEVICE uint32_t less(uint32_t bytes, uint32_t n) {
  return ((bytes | 0x80808080u) - n * 0x01010101u) ^ 0x80808080u;
}

struct unit_q4_0 {
  static constexpr dtype type = dtype::q4_0;
  static constexpr uint32_t pieces = 1; ///< of a unit
  static constexpr uint32_t blocks = 1; ///< of a piece
  words2 data;
  uint32_t scales;

  COEL_DEVICE void load(const std::byte* unit, uint32_t, uint32_t lane) {
    data = simt::load2(unit + 8 * lane);
    scales = simt::load1(unit + run_bytes / 2 + lane / 4 * 4);
  }
  /// Number in the unit of a piece's block j.
  COEL_DEVICE static uint32_t block_of(uint32_t, uint32_t) { return 0; }
  COEL_DEVICE void operands(uint32_t, uint32_t (&a)[4]) const {
    a[0] = less(nibbles(data.x, 0), 8);
    a[1] = less(nibbles(data.y, 0), 8);
    a[2] = less(nibbles(data.x, 1), 8);
    a[3] = less(nibbles(data.y, 1), 8);
  }
  COEL_DEVICE row_pair scale(uint32_t) const { return halves(scales); }
};

struct unit_q8_0 {
  static constexpr dtype type = dtype::q8_0;
  static constexpr uint32_t pieces = 1;
  static constexpr uint32_t blocks = 1;
  words4 data;
  uint32_t scales;

  COEL_DEVICE void load(const std::byte* unit, uint32_t, uint32_t lane) {
    data = simt::load4(unit + 16 * lane);
    scales = simt::load1(unit + run_bytes + lane / 4 * 4);
  }
  COEL_DEVICE static uint32_t block_of(uint32_t, uint32_t) { return 0; }
  COEL_DEVICE void operands(uint32_t, uint32_t (&a)[4]) const {
    a[0] = data.x;
    a[1] = data.y;
    a[2] = data.z;
    a[3] = data.w;
  }
  COEL_DEVICE row_pair scale(uint32_t) const { return halves(scales); }
};

/// q4_k and q5_k: w = d * scale * q - dmin * min. A piece is a group: sub-blocks 2 p and 2 p + 1.
template <bool Fifths>
struct unit_k45 {
  static constexpr dtype type = Fifths ? dtype::q5_k : dtype::q4_k;
  static constexpr uint32_t pieces = 4;
  static constexpr uint32_t blocks = 2;
  words4 fifths{}; ///< bit j of a byte belongs to block j
  words4 group;
  words2 scales; ///< a word for each block
  words2 ends;

  COEL_DEVICE void load(const std::byte* unit, uint32_t piece, uint32_t lane) {
    if constexpr (Fifths) {
      fifths = simt::load4(unit + 16 * lane);
      fifths = {fifths.x >> (2 * piece), fifths.y >> (2 * piece), fifths.z >> (2 * piece),
                fifths.w >> (2 * piece)};
      unit += run_bytes;
    }
    group = simt::load4(unit + piece * run_bytes + 16 * lane);
    unit += 4 * run_bytes;
    scales = simt::load2(unit + lane / 4 * 32 + piece * 8);
    ends = simt::load2(unit + scale_words_bytes + lane / 4 * 8);
  }
  COEL_DEVICE static uint32_t block_of(uint32_t piece, uint32_t j) { return 2 * piece + j; }
  COEL_DEVICE static uint32_t value(uint32_t pair, uint32_t fifth, uint32_t j) {
    uint32_t q = nibbles(pair, j);
    if constexpr (Fifths)
      q |= ((fifth >> j) & 0x01010101u) << 4;
    return q;
  }
  COEL_DEVICE void operands(uint32_t j, uint32_t (&a)[4]) const {
    a[0] = value(group.x, fifths.x, j);
    a[1] = value(group.y, fifths.y, j);
    a[2] = value(group.z, fifths.z, j);
    a[3] = value(group.w, fifths.w, j);
  }
  COEL_DEVICE row_pair scale(uint32_t j) const {
    uint32_t word = j == 0 ? scales.x : scales.y;
    return {halves(ends.x).low * byte_of(word, 0), halves(ends.y).low * byte_of(word, 2)};
  }
  COEL_DEVICE row_pair min(uint32_t j) const {
    uint32_t word = j == 0 ? scales.x : scales.y;
    return {halves(ends.x).high * byte_of(word, 1), halves(ends.y).high * byte_of(word, 3)};
  }
};

/// w = d * scale * (q - 32), a scale for 16 columns. Pieces 2 h and 2 h + 1 are runs 0 and 2, 1 and
/// 3 of half h.
struct unit_q6_k {
  static constexpr dtype type = dtype::q6_k;
  static constexpr uint32_t pieces = 4;
  static constexpr uint32_t blocks = 2;
  words4 low;
  words4 high; ///< bits 4 j and 4 j + 1 of a byte belong to block j
  uint32_t scales[2];
  uint32_t d;

  COEL_DEVICE void load(const std::byte* unit, uint32_t piece, uint32_t lane) {
    uint32_t which = piece % 2;
    const std::byte* half = unit + piece / 2 * 3 * run_bytes + 16 * lane;
    low = simt::load4(half + which * run_bytes);
    high = simt::load4(half + 2 * run_bytes);
    high = {high.x >> (2 * which), high.y >> (2 * which), high.z >> (2 * which),
            high.w >> (2 * which)};
    unit += 6 * run_bytes;
    scales[0] = simt::load1(unit + lane / 4 * 32 + 4 * block_of(piece, 0));
    scales[1] = simt::load1(unit + lane / 4 * 32 + 4 * block_of(piece, 1));
    d = simt::load1(unit + scale_words_bytes + lane / 4 * 4);
  }
  COEL_DEVICE static uint32_t block_of(uint32_t piece, uint32_t j) {
    return piece / 2 * 4 + piece % 2 + 2 * j;
  }
  COEL_DEVICE static uint32_t value(uint32_t low, uint32_t high, uint32_t j) {
    return less(nibbles(low, j) | ((high >> (4 * j)) & 0x03030303u) << 4, 32);
  }
  COEL_DEVICE void operands(uint32_t j, uint32_t (&a)[4]) const {
    a[0] = value(low.x, high.x, j);
    a[1] = value(low.y, high.y, j);
    a[2] = value(low.z, high.z, j);
    a[3] = value(low.w, high.w, j);
  }
  /// Of the block's first 16 columns, or of the others.
  COEL_DEVICE row_pair scale(uint32_t j, uint32_t second) const {
    return {halves(d).low * signed_byte_of(scales[j], second),
            halves(d).high * signed_byte_of(scales[j], 2 + second)};
  }
};

} // namespace coel::gpu
