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

caf::result<file_block> chunk_of(const kept_model& kept, const file_want& ask) {
  const auto& m = *kept.manifest;
  if (ask.file >= m.files().size() || ask.offset >= m.files()[ask.file].size)
    return to_caf({ec::bad_argument, "the model has no such file or offset"});
  auto chunk = static_cast<model::chunk_id>(m.chunks_of({ask.file, ask.offset, 1}).first);
  auto place = m.place(chunk);
  if (place.offset != ask.offset || place.length != ask.length)
    return to_caf({ec::bad_argument, "files are lent by whole chunks"});
  auto bytes = kept.mirror ? kept.mirror->read(chunk) : model::read_chunk(m, kept.files, chunk);
  if (!bytes)
    return to_caf(bytes.err());
  return file_block{m.files()[ask.file].size, std::move(*bytes)};
}

caf::result<file_block> lend(const library_state& st, const file_want& ask) {
  auto kept = st.models->find(ask.model);
  if (!kept)
    return to_caf({ec::unknown_model, "this node has no files of that model"});
  return ask.file == net::want_frame::manifest_file ? manifest_part(*kept, ask) : chunk_of(*kept, ask);
}

} // namespace

library_actor::behavior_type library(library_actor::stateful_pointer<library_state> self, kept_models_ptr models) {
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
