// Popularity and residency of a model's experts as a picture. Pure.
#pragma once

#include "apps/inspect/text.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace coel::inspect {

/// A routed expert. Slices of a shared expert run for every token and have no place in the map.
struct heat_cell {
  double popularity = 0; ///< activations a token
  bool absent = false;   ///< must be fetched before it can run
};

struct heat_row {
  uint64_t layer = 0;
  std::vector<heat_cell> experts; ///< by id
};

constexpr size_t heat_levels = 8;

/// 0: never used; else 1 to 7, by multiples of the even share, so that a few very popular experts
/// do not make all others look alike. Rises with popularity.
size_t heat_level(double popularity, double even_share);

/// Layers down, experts across, with a ruler above and a legend below. Neighbours share a cell
/// where there are more experts than columns: it shows their mean, and absent if one of them is.
std::string heat_map(const std::vector<heat_row>& rows, double even_share, const look& how);

} // namespace coel::inspect
