// Rewrites a model as GGUF in another precision, reading and writing row by row.
#pragma once

#include "model/gguf_writer_fill.hpp"

namespace coel::model {

/// What the new file will be, before anything is written.
struct quantise_plan {
  std::vector<gguf_pair> metadata;
  std::vector<stored_tensor> tensors;
  uint64_t bytes() const; ///< of tensor data
};

/// Types as plan_tensors chooses them. Errors: unsupported (q and k of a family whose rotary order
/// differs between formats, in a way that cannot be reordered).
result<quantise_plan> plan_quantisation(const source& from, dtype asked);

/// Errors: those of write_model; bad_file for a weight that is infinite or not a number (naming
/// tensor and row).
result<void> quantise_model(const source& from, const quantise_plan& plan,
                            const std::filesystem::path& out, uint32_t threads,
                            const write_progress& progress = {});

} // namespace coel::model
