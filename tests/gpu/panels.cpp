// The layout of panels against the formats of the files: every value is where a lane looks for it.
#include "../cpu/support.hpp"
#include "gpu/elements.hpp"
#include "gpu/matrix_kernel.hpp"
#include "gpu/units.hpp"

using namespace coel;
using namespace coel::test;

namespace {

int8_t signed_byte(uint32_t word, uint32_t i) {
  return static_cast<int8_t>(word >> (8 * i));
}

/// Value of column c of a piece's block, of row g (`high`: g + 8), as lane 4 g + t computes it.
template <class Unit>
float value_of(const Unit& w, uint32_t block, uint32_t c, bool high) {
  uint32_t a[4];
  w.operands(block, a);
  int8_t q = signed_byte(a[high + (c < 16 ? 0 : 2)], c % 4);
  auto of = [high](gpu::row_pair p) { return high ? p.high : p.low; };
  if constexpr (Unit::type == dtype::q6_k)
    return of(w.scale(block, c / 16)) * static_cast<float>(q);
  else if constexpr (Unit::type == dtype::q4_k || Unit::type == dtype::q5_k)
    return of(w.scale(block)) * static_cast<float>(q) - of(w.min(block));
  else
    return of(w.scale(block)) * static_cast<float>(q);
}

template <class Unit>
void compare(uint32_t rows, uint32_t units) {
  dtype type = Unit::type;
  auto shape = gpu::unit_of(type);
  auto m = random_matrix(type, rows, uint64_t{units} * shape.cols, rows + units);
  auto want = compute::to_f32(m);
  std::vector<simt::words4> panel(gpu::panel_bytes(type, m.cols) / 16 + 1);
  auto* bytes = reinterpret_cast<std::byte*>(panel.data());
  for (uint64_t p = 0; p < gpu::panels_of(rows); ++p) {
    gpu::pack_panel(m, p, bytes);
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t piece = 0; piece < units * Unit::pieces; ++piece) {
        gpu::piece_at<Unit> where(piece);
        Unit w;
        w.load(bytes + where.offset(), where.piece, lane);
        for (uint32_t j = 0; j < Unit::blocks; ++j)
          for (uint32_t i = 0; i < 32; i += i % 4 == 3 ? 13 : 1) { // the lane's columns
            uint32_t c = 4 * (lane % 4) + i;
            if (c >= 32)
              break;
            for (bool high : {false, true}) {
              uint64_t row = p * 16 + lane / 4 + (high ? 8 : 0);
              uint64_t column = where.block(j) * 32 + c;
              BOOST_REQUIRE_EQUAL(value_of(w, j, c, high),
                                  row < rows ? want[row * m.cols + column] : 0.f);
            }
          }
      }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_panels)

BOOST_AUTO_TEST_CASE(lanes_find_every_value) {
  for (uint32_t rows : {1u, 16u, 21u}) {
    compare<gpu::unit_q8_0>(rows, 3);
    compare<gpu::unit_q4_0>(rows, 3);
    compare<gpu::unit_k45<false>>(rows, 2);
    compare<gpu::unit_k45<true>>(rows, 2);
    compare<gpu::unit_q6_k>(rows, 2);
  }
}

BOOST_AUTO_TEST_CASE(no_type_grows_by_more_than_three_percent) {
  for (dtype type : all_dtypes)
    if (is_quantised(type))
      BOOST_TEST(static_cast<double>(gpu::panel_bytes(type, 2048)) <=
                 1.03 * static_cast<double>(16 * row_bytes(type, 2048)));
}

BOOST_AUTO_TEST_CASE(single_elements_are_those_of_the_row) {
  for (dtype type : all_dtypes) {
    auto m = random_matrix(type, 3, 512, 7);
    auto want = compute::to_f32(m);
    for (uint32_t r = 0; r < 3; ++r)
      for (uint32_t c = 0; c < 512; ++c)
        BOOST_REQUIRE_EQUAL(gpu::element(type, m.row(r), c), want[r * 512 + c]);
  }
}

BOOST_AUTO_TEST_SUITE_END()
