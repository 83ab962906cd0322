// Which node computes which columns of a projection that several nodes hold (the output matrix):
// contiguous parts such that all end at the same time, each helper paying for its round trip. A
// helper whose round trip alone takes longer than that gets none (water-filling).
#pragma once

#include "common/ids.hpp"

#include <cstdint>
#include <vector>

namespace coel::policy {

/// What columns cost at a node, for the rows at hand.
struct column_cost {
  node_id host{};
  double fixed_us = 0;      ///< round trip and handling; 0 for this node
  double us_per_column = 0; ///< computing, and the way back; > 0
};

struct column_part {
  node_id host{};
  uint32_t first = 0; ///< a multiple of `unit`
  uint32_t end = 0;

  bool operator==(const column_part&) const = default;
};

/// Parts of [0, columns), rising and without gaps, none empty; who gets none is not listed, and
/// `self` comes first. All are this node's if it has not been measured; so are the parts of others
/// that have not.
std::vector<column_part> split_columns(uint32_t columns, uint32_t unit, const column_cost& self,
                                       std::vector<column_cost> others);

} // namespace coel::policy
