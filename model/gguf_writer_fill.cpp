#include "model/gguf_writer_fill.hpp"

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>

namespace coel::model {

namespace {

constexpr uint64_t chunk_elements = 1 << 20;

/// What the worker threads share.
struct filling {
  gguf_writer& file;
  const std::vector<stored_tensor>& tensors;
  const std::vector<row_chunk> chunks;
  const row_maker& make;
  const write_progress& progress;
  uint64_t total = 0;
  std::atomic<size_t> next{0};
  std::mutex lock{}; // of what follows
  uint64_t done = 0;
  std::optional<error> problem{};

  result<uint64_t> fill(const row_chunk& c, std::vector<std::byte>& memory) {
    const auto& t = tensors[c.tensor];
    memory.resize(c.rows * t.row_size());
    if (auto ok = make(c, memory); !ok)
      return ok.err();
    auto offset = (c.member * t.rows + c.first_row) * t.row_size();
    if (auto ok = file.write(c.tensor, offset, memory); !ok)
      return ok.err();
    return uint64_t{memory.size()};
  }

  void work() {
    std::vector<std::byte> memory;
    for (size_t i; (i = next++) < chunks.size();) {
      auto bytes = fill(chunks[i], memory);
      std::lock_guard hold(lock);
      if (!bytes && !problem)
        problem = bytes.err();
      if (problem)
        return;
      done += *bytes;
      if (progress)
        progress(done, total);
    }
  }
};

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
  filling work{**file, tensors, plan_chunks(tensors), make, progress, total};
  std::vector<std::thread> helpers;
  for (uint32_t n = threads ? threads : std::max(std::thread::hardware_concurrency(), 1u); n > 1;
       --n)
    helpers.emplace_back([&work] { work.work(); });
  work.work();
  for (auto& h : helpers)
    h.join();
  if (work.problem)
    return *work.problem;
  return (*file)->finish();
}

} // namespace coel::model
