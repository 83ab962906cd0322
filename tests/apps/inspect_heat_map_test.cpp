// The heat map.
#include "apps/inspect/heat_map.hpp"
#include "tests/apps/inspect_support.hpp"

#include <boost/test/unit_test.hpp>

using namespace coel::inspect;
using namespace coel::test;

namespace {

struct shape {
  size_t experts, layers;
};

std::vector<heat_row> rows_of(shape s, double popularity = 0.1) {
  std::vector<heat_row> rows(s.layers);
  for (size_t l = 0; l < s.layers; ++l) {
    rows[l].layer = l;
    rows[l].experts.resize(s.experts, {popularity, false});
  }
  return rows;
}

/// The cells of a layer's line, without its number.
std::string cells_of(const std::string& map, size_t layer) {
  return lines_of(plain(map)).at(layer + 1).substr(6);
}

} // namespace

BOOST_AUTO_TEST_SUITE(inspect_heat_map)

BOOST_AUTO_TEST_CASE(no_line_is_wider_than_the_terminal) {
  for (shape s : {shape{1, 1}, {8, 32}, {16, 4}, {60, 24}, {64, 16}, {128, 48}, {257, 3}})
    for (size_t width : {20u, 40u, 79u, 80u, 81u, 132u, 300u})
      for (bool colour : {false, true})
        for (bool unicode : {false, true}) {
          auto map = heat_map(rows_of(s), 0.1, {width, colour, unicode});
          BOOST_TEST(widest_line(map) <= width, s.experts << " experts in " << width << " columns");
          BOOST_TEST(lines_of(map).size() > s.layers);
        }
}

BOOST_AUTO_TEST_CASE(every_expert_has_a_cell_where_there_is_room) {
  auto map = heat_map(rows_of({60, 24}), 0.1, {80, false, false});
  for (size_t l = 0; l < 24; ++l)
    BOOST_TEST(cells_of(map, l).size() == 60u);
  auto wide = heat_map(rows_of({60, 24}), 0.1, {132, false, false});
  BOOST_TEST(cells_of(wide, 0).size() == 120u); // two columns each
}

BOOST_AUTO_TEST_CASE(neighbours_share_a_cell_where_there_is_not) {
  auto rows = rows_of({128, 48}, 0);
  rows[47].experts[127].popularity = 1;
  rows[0].experts[2].absent = true;
  auto map = heat_map(rows, 0.01, {80, false, false});
  BOOST_TEST(cells_of(map, 0) == ".o" + std::string(62, '.'));
  BOOST_TEST(cells_of(map, 1) == std::string(64, '.'));
  BOOST_TEST(cells_of(map, 47) == std::string(63, '.') + "@");
  auto apart = heat_map(rows_of({128, 48}), 0.01, {134, false, false});
  BOOST_TEST(cells_of(apart, 0).size() == 128u);
}

BOOST_AUTO_TEST_CASE(a_cell_of_several_shows_their_mean) {
  auto rows = rows_of({128, 1}, 0);
  rows[0].experts[0].popularity = 0.2; // with a never used neighbour: the even share
  auto shared = heat_map(rows, 0.1, {80, false, false});
  rows.front().experts.resize(64, {0, false});
  rows[0].experts[0].popularity = 0.1;
  auto alone = heat_map(rows, 0.1, {80, false, false});
  BOOST_TEST(cells_of(shared, 0).front() == cells_of(alone, 0).front());
}

BOOST_AUTO_TEST_CASE(levels_rise_with_popularity) {
  BOOST_TEST(heat_level(0, 0.1) == 0u);
  BOOST_TEST(heat_level(1e-9, 0.1) == 1u);
  BOOST_TEST(heat_level(1, 0) == 1u);
  BOOST_TEST(heat_level(1, 0.1) == heat_levels - 1);
  size_t before = 0;
  for (double p = 0; p <= 1; p += 1.0 / 4096) {
    auto level = heat_level(p, 0.1);
    BOOST_TEST(level >= before);
    before = level;
  }
  BOOST_TEST(heat_level(0.0999, 0.1) < heat_level(0.1001, 0.1)); // below and above the even share
}

BOOST_AUTO_TEST_CASE(a_more_popular_expert_has_a_stronger_mark) {
  auto rows = rows_of({8, 1}, 0);
  for (size_t e = 0; e < 8; ++e)
    rows[0].experts[e].popularity = std::vector{0., 0.02, 0.04, 0.09, 0.14, 0.19, 0.3, 0.9}[e];
  auto ascii_cells = cells_of(heat_map(rows, 0.1, {20, false, false}), 0);
  BOOST_TEST(ascii_cells == ".:-=+*#@");
  BOOST_TEST(cells_of(heat_map(rows, 0.1, {20, false, true}), 0) == "·▁▂▃▄▅▆█");
}

BOOST_AUTO_TEST_CASE(colour_only_where_asked_for_and_nothing_but_colour) {
  auto rows = rows_of({60, 24});
  rows[3].experts[7].absent = true;
  auto with = heat_map(rows, 0.1, {80, true, true}),
       without = heat_map(rows, 0.1, {80, false, true});
  BOOST_TEST(without.find('\x1b') == std::string::npos);
  BOOST_TEST(with.find("\x1b[38;5;") != std::string::npos);
  BOOST_TEST(plain(with) == without);
}

BOOST_AUTO_TEST_CASE(what_is_not_in_memory_shows_without_colour) {
  auto rows = rows_of({4, 1}, 0);
  for (auto& e : rows[0].experts)
    e.absent = true;
  rows[0].experts[1].popularity = 0.1;
  rows[0].experts[2].popularity = 0.9;
  rows[0].experts[3].absent = false;
  auto map = heat_map(rows, 0.1, {14, false, false});
  BOOST_TEST(cells_of(map, 0) == "ooxxXX..");
  BOOST_TEST(map.find("o x X") != std::string::npos); // the legend tells, as far as it fits
  rows[0].experts.assign(4, {0.1, false});
  BOOST_TEST(heat_map(rows, 0.1, {80, false, false}).find("not in memory") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_ruler_stands_above_its_cells) {
  auto ruler = lines_of(heat_map(rows_of({60, 1}), 0.1, {80, false, false})).front();
  BOOST_TEST(ruler.substr(0, 6) == "layer ");
  for (size_t e : {8u, 16u, 24u, 48u})
    BOOST_TEST(ruler.substr(6 + e, 2).find(std::to_string(e)) == 0u);
  auto halved = lines_of(heat_map(rows_of({128, 1}), 0.1, {80, false, false})).front();
  BOOST_TEST(halved.substr(6 + 8, 2) == "16"); // two experts a cell
}

BOOST_AUTO_TEST_CASE(nothing_to_show_is_said) {
  BOOST_TEST(heat_map({}, 0, {80, false, false}) == "no routed experts\n");
  BOOST_TEST(heat_map(rows_of({0, 4}), 0, {80, false, false}) == "no routed experts\n");
  auto unused = heat_map(rows_of({16, 2}, 0), 0.25, {80, false, false});
  BOOST_TEST(cells_of(unused, 0) == std::string(32, '.'));
}

BOOST_AUTO_TEST_SUITE_END()
