#include "actors/library.hpp"

#include "actors/errors.hpp"
#include "net/link_frames.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

caf::result<file_block> manifest_part(const kept_model& kept, const file_want& ask) {
  auto whole = kept.manifest->encode();
  if (ask.offset > whole.size())
    return to_caf({ec::bad_argument, "a manifest is shorter than that"});
  auto first = whole.begin() + static_cast<std::ptrdiff_t>(ask.offset);
  auto length = std::min<uint64_t>({ask.length, whole.size() - ask.offset, net::max_block_bytes});
  return file_block{whole.size(), {first, first + static_cast<std::ptrdiff_t>(length)}};
}

constexpr size_t chunks_remembered = 8;

/// The bytes stay valid until the next call.
result<std::span<const std::byte>> read_chunk(library_state& st, const kept_model& kept,
                                              model::chunk_id chunk) {
  const auto& m = *kept.manifest;
  for (const auto& known : st.read)
    if (known.chunk == chunk && known.model == m.hash())
      return std::span<const std::byte>(known.bytes);
  auto bytes = kept.mirror ? kept.mirror->read(chunk) : model::read_chunk(m, kept.files, chunk);
  if (!bytes)
    return bytes.err();
  st.read.push_front({m.hash(), chunk, std::move(*bytes)});
  if (st.read.size() > chunks_remembered)
    st.read.pop_back();
  return std::span<const std::byte>(st.read.front().bytes);
}

caf::result<file_block> part_of_chunk(library_state& st, const kept_model& kept,
                                      const file_want& ask) {
  const auto& m = *kept.manifest;
  if (ask.length == 0 || !m.contains({ask.file, ask.offset, ask.length}))
    return to_caf({ec::bad_argument, "the model has no such file or bytes"});
  auto span = m.chunks_of({ask.file, ask.offset, ask.length});
  auto chunk = static_cast<model::chunk_id>(span.first);
  if (span.last != span.first + 1 || ask.length > net::max_block_bytes)
    return to_caf({ec::bad_argument, "files are lent by chunks or parts of one"});
  auto bytes = read_chunk(st, kept, chunk);
  if (!bytes)
    return to_caf(bytes.err());
  auto part = bytes->subspan(ask.offset - m.place(chunk).offset, ask.length);
  return file_block{m.files()[ask.file].size, {part.begin(), part.end()}};
}

caf::result<file_block> lend(library_state& st, const file_want& ask) {
  auto kept = st.models->find(ask.model);
  if (!kept)
    return to_caf({ec::unknown_model, "this node has no files of that model"});
  return ask.file == net::want_frame::manifest_file ? manifest_part(*kept, ask)
                                                    : part_of_chunk(st, *kept, ask);
}

} // namespace

library_actor::behavior_type library(library_actor::stateful_pointer<library_state> self,
                                     kept_models_ptr models) {
  self->state.models = std::move(models);
  return {
      [self](atom::status) { return self->state.cost.status(self, "library"); },
      [self](const file_want& ask) -> caf::result<file_block> {
        auto measured = self->state.cost.measure();
        return lend(self->state, ask);
      },
  };
}

} // namespace coel::actors
