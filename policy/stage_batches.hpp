// How batches of sessions that pass stages are cut, so that stages work at the same time.
#pragma once

#include "common/node_record.hpp"

#include <cstdint>

namespace coel::policy {

/// Batches that may be under way through `stages` stages: one in each, and one on the wire.
constexpr uint32_t most_batches(uint32_t stages) {
  return stages + 1;
}

/// Of so many decoding sessions, those that one batch takes: as many groups as there are stages.
constexpr uint32_t decoders_of_batch(uint32_t decoding, uint32_t stages) {
  return stages ? (decoding + stages - 1) / stages : decoding;
}

/// What a slice costs a stage, as far as this home knows: of one layer.
struct slice_cost {
  expert_speed expert;
  home_speed dense;
  uint32_t experts = 0; ///< of a layer
  uint32_t top_k = 0;   ///< of a row
};

/// Rows of the slices in which a prompt passes the stages soonest: n slices take stages + n - 1
/// turns, and each reads the weights anew. Between 1 and `most`; `most` where nothing is measured.
uint32_t slice_rows_for(uint32_t rows, uint32_t stages, const slice_cost& cost, uint32_t most);

} // namespace coel::policy
