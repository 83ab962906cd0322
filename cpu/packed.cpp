#include "cpu/packed.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace coel::cpu {

namespace {

/// Where the current unit of each of a panel's rows begins; rows past the end read as zeros.
using unit_rows = std::array<const std::byte*, panel_rows>;

uint8_t byte_at(const std::byte* p) {
  return static_cast<uint8_t>(*p);
}

#if defined(__SSE2__) // every x86-64 has it
/// Planes of words 0 to 3 at `offset` of each row, `apart` bytes from one another: squares of four
/// rows turned over their diagonal.
void copy_four_planes(const unit_rows& rows, size_t offset, std::byte* to, size_t apart,
                      uint32_t flip) {
  auto flips = _mm_set1_epi32(static_cast<int>(flip));
  auto row = [&](uint32_t r) {
    return _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[r] + offset)),
                         flips);
  };
  for (uint32_t r = 0; r < panel_rows; r += 4) {
    auto a = row(r), b = row(r + 1), c = row(r + 2), d = row(r + 3);
    auto ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
    auto ab2 = _mm_unpackhi_epi32(a, b), cd2 = _mm_unpackhi_epi32(c, d);
    auto store = [&](uint32_t plane, __m128i words) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + plane * apart + 4 * r), words);
    };
    store(0, _mm_unpacklo_epi64(ab, cd));
    store(1, _mm_unpackhi_epi64(ab, cd));
    store(2, _mm_unpacklo_epi64(ab2, cd2));
    store(3, _mm_unpackhi_epi64(ab2, cd2));
  }
}
#else
void copy_four_planes(const unit_rows& rows, size_t offset, std::byte* to, size_t apart,
                      uint32_t flip) {
  for (uint32_t j = 0; j < 4; ++j)
    for (uint32_t r = 0; r < panel_rows; ++r) {
      uint32_t word;
      std::memcpy(&word, rows[r] + offset + 4 * j, 4);
      word ^= flip;
      std::memcpy(to + j * apart + 4 * r, &word, 4);
    }
}
#endif

/// Copies bytes [offset, offset + 4 * planes) of each row as planes, a multiple of four; returns
/// the end of the copy.
std::byte* copy_planes(const unit_rows& rows, size_t offset, uint32_t planes, std::byte* to,
                       uint32_t flip = 0) {
  for (uint32_t j = 0; j < planes; j += 4, to += 4 * plane_bytes)
    copy_four_planes(rows, offset + 4 * j, to, plane_bytes, flip);
  return to;
}

/// Copies 8 planes from `first`, each followed by the one from `second`.
std::byte* copy_plane_pairs(const unit_rows& rows, size_t first, size_t second, std::byte* to) {
  for (uint32_t j = 0; j < 8; j += 4, to += 8 * plane_bytes) {
    copy_four_planes(rows, first + 4 * j, to, 2 * plane_bytes, 0);
    copy_four_planes(rows, second + 4 * j, to + plane_bytes, 2 * plane_bytes, 0);
  }
  return to;
}

/// Copies one element of `Bytes` bytes of each row.
template <size_t Bytes>
std::byte* copy_elements(const unit_rows& rows, size_t offset, std::byte* to) {
  for (uint32_t r = 0; r < panel_rows; ++r, to += Bytes)
    std::memcpy(to, rows[r] + offset, Bytes);
  return to;
}

void pack_q8_0(const unit_rows& rows, std::byte* to) {
  copy_elements<2>(rows, 0, copy_planes(rows, 2, 8, to, 0x80808080u));
}

void pack_q4_0(const unit_rows& rows, std::byte* to) {
  copy_elements<2>(rows, 0, copy_planes(rows, 2, 4, to));
}

struct scale_min {
  uint8_t scale;
  uint8_t min;
};

/// Six-bit scale and minimum of sub-block j; compute/quant.cpp describes the fields.
scale_min k_scale(const std::byte* s, uint32_t j) {
  if (j < 4)
    return {static_cast<uint8_t>(byte_at(s + j) & 63),
            static_cast<uint8_t>(byte_at(s + j + 4) & 63)};
  uint32_t low = byte_at(s + j + 4);
  return {static_cast<uint8_t>((low & 15) | (byte_at(s + j - 4) >> 6) << 4),
          static_cast<uint8_t>((low >> 4) | (byte_at(s + j) >> 6) << 4)};
}

std::byte* copy_k_scales(const unit_rows& rows, uint32_t j, std::byte* to) {
  for (uint32_t r = 0; r < panel_rows; ++r) {
    auto [scale, min] = k_scale(rows[r] + 4, j);
    to[r] = std::byte{scale};
    to[panel_rows + r] = std::byte{min};
  }
  return to + 2 * panel_rows;
}

void pack_q45_k(const unit_rows& rows, bool fifths, std::byte* to) {
  to = copy_elements<2>(rows, 2, copy_elements<2>(rows, 0, to));
  size_t nibbles = fifths ? 48 : 16;
  for (uint32_t pair = 0; pair < 4; ++pair, nibbles += 32) {
    to = copy_k_scales(rows, 2 * pair + 1, copy_k_scales(rows, 2 * pair, to));
    to = fifths && pair == 0 ? copy_plane_pairs(rows, nibbles, 16, to)
                             : copy_planes(rows, nibbles, 8, to);
  }
}

void pack_q4_k(const unit_rows& rows, std::byte* to) {
  pack_q45_k(rows, false, to);
}
void pack_q5_k(const unit_rows& rows, std::byte* to) {
  pack_q45_k(rows, true, to);
}

void pack_q6_k(const unit_rows& rows, std::byte* to) {
  to = copy_elements<2>(rows, 208, to);
  std::memset(to, 0, plane_bytes - half_row_bytes);
  to += plane_bytes - half_row_bytes;
  for (uint32_t half = 0; half < 2; ++half) {
    for (uint32_t j = 0; j < 8; ++j)
      to = copy_elements<1>(rows, 192 + 8 * half + j, to);
    to = copy_plane_pairs(rows, 64 * half, 128 + 32 * half, to);
    to = copy_planes(rows, 64 * half + 32, 8, to);
  }
}

constexpr std::array<panel_unit, dtype_count> units{{{1, 4 * panel_rows},
                                                     {1, 2 * panel_rows},
                                                     {1, 2 * panel_rows},
                                                     {32, q8_0_unit},
                                                     {32, q4_0_unit},
                                                     {256, q4_k_unit},
                                                     {256, q5_k_unit},
                                                     {256, q6_k_unit}}};

/// The rows of a panel and how far each advances from unit to unit: not at all past the end.
struct panel_rows_of {
  static constexpr std::array<std::byte, 256> zeros{}; // as long as the longest block
  unit_rows at;
  std::array<size_t, panel_rows> step;

  panel_rows_of(const compute::matrix_view& from, uint64_t first_row, size_t unit_step) {
    for (uint32_t r = 0; r < panel_rows; ++r) {
      bool inside = first_row + r < from.rows;
      at[r] = inside ? from.row(first_row + r) : zeros.data();
      step[r] = inside ? unit_step : 0;
    }
  }
  void advance() {
    for (uint32_t r = 0; r < panel_rows; ++r)
      at[r] += step[r];
  }
};

template <void (*Pack)(const unit_rows&, std::byte*)>
void pack_panel(panel_rows_of rows, uint64_t count, size_t unit_bytes, std::byte* to) {
  for (; count > 0; --count, to += unit_bytes, rows.advance())
    Pack(rows.at, to);
}

/// Floats a cache line of a row at a time: rows are often a multiple of 4 KiB apart, where a line
/// of each of 16 does not fit the cache together.
template <size_t Bytes>
void pack_columns(panel_rows_of rows, uint64_t count, size_t, std::byte* to) {
  constexpr uint64_t line = 64 / Bytes;
  for (uint64_t first = 0; first < count; first += line)
    for (uint32_t r = 0; r < panel_rows; ++r)
      for (uint64_t c = first; c < std::min(first + line, count); ++c)
        std::memcpy(to + (c * panel_rows + r) * Bytes, rows.at[r] + c * rows.step[r], Bytes);
}

constexpr std::array packers{pack_columns<4>,       pack_columns<2>,       pack_columns<2>,
                             pack_panel<pack_q8_0>, pack_panel<pack_q4_0>, pack_panel<pack_q4_k>,
                             pack_panel<pack_q5_k>, pack_panel<pack_q6_k>};
static_assert(packers.size() == dtype_count);

} // namespace

panel_unit unit_of(dtype type) {
  return units[static_cast<size_t>(type)];
}

uint64_t packed_bytes(const compute::matrix_view& of) {
  auto unit = unit_of(of.type);
  return (of.rows + panel_rows - 1) / panel_rows * (of.cols / unit.cols * unit.bytes);
}

void pack(const compute::matrix_view& from, std::byte* to) {
  auto unit = unit_of(from.type);
  auto count = from.cols / unit.cols;
  auto step = row_bytes(from.type, unit.cols);
  for (uint64_t row = 0; row < from.rows; row += panel_rows, to += count * unit.bytes)
    packers[static_cast<size_t>(from.type)]({from, row, step}, count, unit.bytes, to);
}

std::shared_ptr<const packed_weight> packed_weight::over(const compute::matrix_view& of,
                                                         const std::byte* at,
                                                         std::shared_ptr<const void> owner) {
  auto made = std::make_shared<packed_weight>();
  auto unit = unit_of(of.type);
  made->type_ = of.type;
  made->rows_ = static_cast<uint32_t>(of.rows);
  made->cols_ = static_cast<uint32_t>(of.cols);
  made->panel_bytes_ = of.cols / unit.cols * unit.bytes;
  made->at_ = at;
  made->owner_ = std::move(owner);
  return made;
}

result<std::shared_ptr<const packed_weight>> packed_weight::make(const compute::matrix_view& from,
                                                                 const budget_ptr& memory) {
  auto space = block::make(packed_bytes(from), "weight", memory);
  if (!space.ok())
    return space.err();
  auto owned = std::make_shared<block>(std::move(*space));
  pack(from, owned->data());
  auto* at = owned->data();
  return over(from, at, std::move(owned));
}

} // namespace coel::cpu
