// Fills a GGUF file with rows made by several threads, chunk by chunk: memory stays at one chunk a
// thread however large the model.
#pragma once

#include "model/gguf_writer_layout.hpp"

#include <functional>
#include <span>

namespace coel::model {

/// Neighbouring rows of one matrix of a tensor.
struct row_chunk {
  size_t tensor = 0;   ///< index into the planned tensors
  uint32_t member = 0; ///< matrix of the stack
  uint64_t first_row = 0;
  uint64_t rows = 0;
};

/// Writes the chunk's rows in the tensor's type to `out`; called from several threads.
using row_maker = std::function<result<void>(const row_chunk&, std::span<std::byte> out)>;

/// Bytes written so far, of all; called from one thread at a time.
using write_progress = std::function<void(uint64_t done, uint64_t total)>;

/// Chunks of at most a million elements in file order; the same ones for every thread count.
std::vector<row_chunk> plan_chunks(const std::vector<stored_tensor>& tensors);

/// Creates `path` with this metadata and fills every tensor. threads 0: one per core.
/// Errors: those of gguf_writer and the first of `make`; the file then does not exist.
result<void> write_model(const std::filesystem::path& path, const std::vector<gguf_pair>& metadata,
                         const std::vector<stored_tensor>& tensors, uint32_t threads,
                         const row_maker& make, const write_progress& progress = {});

} // namespace coel::model
