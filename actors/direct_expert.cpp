#include "actors/direct_expert.hpp"

#include "actors/tiering.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <unistd.h>

namespace coel::actors {

namespace {

struct free_block {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using aligned_block = std::unique_ptr<std::byte[], free_block>;

/// The piece begins `skip` bytes into the block.
struct read_piece {
  aligned_block memory;
  uint64_t skip = 0;
};

error failed(const model::direct_file& file, const char* what) {
  return {ec::io, file.path().string() + ": " + what};
}

result<read_piece> read(const model::file_piece& from) {
  constexpr auto unit = model::direct_file::alignment;
  uint64_t begin = from.offset / unit * unit;
  uint64_t bytes = (from.offset + from.bytes - begin + unit - 1) / unit * unit;
  read_piece made{aligned_block(static_cast<std::byte*>(std::aligned_alloc(unit, bytes))),
                  from.offset - begin};
  if (!made.memory)
    return {ec::out_of_memory, "no memory to read an expert"};
  for (uint64_t done = 0; done < made.skip + from.bytes;) {
    auto n = ::pread(from.file->descriptor(), made.memory.get() + done, bytes - done,
                     static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return failed(*from.file, n < 0 ? std::strerror(errno) : "is shorter than it was");
    done += static_cast<uint64_t>(n);
  }
  from.file->drop_cached(begin, bytes);
  return made;
}

} // namespace

result<model::expert_ptr> load_expert_directly(const served_model& m, expert_key key) {
  const auto& files = m.tiered->files;
  auto pieces = files.pieces(key);
  if (!pieces)
    return pieces.err();
  std::vector<read_piece> read_from;
  std::vector<compute::matrix_view> views;
  for (uint32_t i = 0; i < pieces->size(); ++i) {
    const auto& piece = (*pieces)[i];
    auto got = read(piece);
    if (!got)
      return got.err();
    if (auto same = piece.file->check_unchanged(); !same)
      return same.err();
    auto view = files.view_of(key, i, {got->memory.get() + got->skip, piece.bytes});
    if (!view)
      return view.err();
    read_from.push_back(std::move(*got));
    views.push_back(*view);
  }
  return m.device->load_expert({views.at(0), views.at(1), views.at(2)},
                               compute::weight_use::project);
}

} // namespace coel::actors
