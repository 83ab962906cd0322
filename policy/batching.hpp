// Which rows the next step carries. Every decoding session has its row in every step; prompts are
// cut into slices, so that a long one delays the others by a slice at a time and no more.
#pragma once

#include "common/ids.hpp"

#include <cstdint>
#include <vector>

namespace coel::policy {

struct batching_limits {
  uint32_t max_rows = 512;   ///< of one step
  uint32_t slice_rows = 128; ///< prompt rows of a step in which others decode
  uint32_t max_logits = 64;  ///< rows whose logits a step can give
};

/// A session that waits for rows; in order of admission.
struct batch_candidate {
  request_id id{};
  uint32_t rows = 0; ///< prompt rows left, or 1 when decoding
  bool decoding = false;
  bool every_row = false;  ///< each of its rows needs logits
  uint32_t slices_run = 0; ///< slices of its prompt that have run
};

struct batch_share {
  request_id id{};
  uint32_t rows = 0;   ///< >= 1
  bool logits = false; ///< of its last row (or of all, if it asked for every row)
};

/// Decoding sessions in order, then prompts: first the one of which the fewest slices have run, so
/// that a short prompt passes a long one after a slice. Deterministic; at most max_rows rows and
/// max_logits rows of logits; never empty while there is a candidate.
std::vector<batch_share> plan_batch(std::vector<batch_candidate> candidates,
                                    const batching_limits& limits);

} // namespace coel::policy
