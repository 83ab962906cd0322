#include "cpu/packed.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace coel::cpu {

namespace {

/// Where the current unit of each of a panel's rows begins; rows past the end read as zeros.
using unit_rows = std::array<const std::byte*, panel_rows>;

uint8_t byte_at(const std::byte* p) {
  return static_cast<uint8_t>(*p);
}

/// Copies bytes [offset, offset + 4 * planes) of each row as planes; returns the end of the copy.
std::byte* copy_planes(const unit_rows& rows, size_t offset, uint32_t planes, std::byte* to,
                       uint32_t flip = 0) {
  for (uint32_t j = 0; j < planes; ++j)
    for (uint32_t r = 0; r < panel_rows; ++r, to += 4) {
      uint32_t word;
      std::memcpy(&word, rows[r] + offset + 4 * j, 4);
      word ^= flip;
      std::memcpy(to, &word, 4);
    }
  return to;
}

/// Copies 8 planes from `first`, each followed by the one from `second`.
std::byte* copy_plane_pairs(const unit_rows& rows, size_t first, size_t second, std::byte* to) {
  for (uint32_t j = 0; j < 8; ++j)
    to = copy_planes(rows, second + 4 * j, 1, copy_planes(rows, first + 4 * j, 1, to));
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

result<std::shared_ptr<const packed_weight>> packed_weight::make(const compute::matrix_view& from,
                                                                 const budget_ptr& memory) {
  auto made = std::make_shared<packed_weight>();
  auto unit = unit_of(from.type);
  made->type_ = from.type;
  made->rows_ = static_cast<uint32_t>(from.rows);
  made->cols_ = static_cast<uint32_t>(from.cols);
  made->panel_bytes_ = from.cols / unit.cols * unit.bytes;
  auto space = block::make(made->panels() * made->panel_bytes_, "weight", memory);
  if (!space.ok())
    return space.err();
  made->memory_ = std::move(*space);
  for (uint32_t p = 0; p < made->panels(); ++p)
    packers[static_cast<size_t>(from.type)](
        {from, uint64_t{p} * panel_rows, row_bytes(from.type, unit.cols)}, from.cols / unit.cols,
        unit.bytes, made->memory_.data() + p * made->panel_bytes_);
  return std::shared_ptr<const packed_weight>(std::move(made));
}

} // namespace coel::cpu
