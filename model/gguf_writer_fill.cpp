#include "model/gguf_writer_fill.hpp"

#include "model/parallel_jobs.hpp"

#include <algorithm>

namespace coel::model {

namespace {

constexpr uint64_t chunk_elements = 1 << 20;

/// Returns the bytes of the chunk.
result<uint64_t> fill(gguf_writer& file, const stored_tensor& t, const row_chunk& c,
                      const row_maker& make, std::vector<std::byte>& memory) {
  memory.resize(c.rows * t.row_size());
  if (auto ok = make(c, memory); !ok)
    return ok.err();
  auto offset = (c.member * t.rows + c.first_row) * t.row_size();
  if (auto ok = file.write(c.tensor, offset, memory); !ok)
    return ok.err();
  return uint64_t{memory.size()};
}

} // namespace

std::vector<row_chunk> plan_chunks(const std::vector<stored_tensor>& tensors) {
  std::vector<row_chunk> chunks;
  for (size_t t = 0; t < tensors.size(); ++t) {
    uint64_t step = std::max<uint64_t>(chunk_elements / tensors[t].cols, 1);
    for (uint32_t m = 0; m < tensors[t].stack; ++m)
      for (uint64_t row = 0; row < tensors[t].rows; row += step)
        chunks.push_back({t, m, row, std::min(step, tensors[t].rows - row)});
  }
  return chunks;
}

result<void> write_model(const std::filesystem::path& path, const std::vector<gguf_pair>& metadata,
                         const std::vector<stored_tensor>& tensors, uint32_t threads,
                         const row_maker& make, const write_progress& progress) {
  std::vector<gguf_tensor_info> infos;
  uint64_t total = 0;
  for (const auto& t : tensors) {
    infos.push_back(file_info(t));
    total += t.bytes();
  }
  auto file = gguf_writer::create(path, metadata, std::move(infos));
  if (!file)
    return file.err();
  auto chunks = plan_chunks(tensors);
  auto job = [&](size_t i, std::vector<std::byte>& memory) {
    return fill(**file, tensors[chunks[i].tensor], chunks[i], make, memory);
  };
  auto tell = [&](uint64_t done) {
    if (progress)
      progress(done, total);
  };
  if (auto ok = run_in_parallel(chunks.size(), threads, job, tell); !ok)
    return ok;
  return (*file)->finish();
}

} // namespace coel::model
