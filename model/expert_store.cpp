#include "model/expert_store.hpp"

#include "model/expert_files.hpp"
#include "model/expert_store_format.hpp"
#include "model/manifest_io.hpp"

#include <algorithm>
#include <xxhash.h>

namespace coel::model {

namespace {

result<store_header> read_header(const file_handle& file) {
  std::vector<std::byte> bytes(store_prefix);
  if (auto ok = file.read_at(0, bytes); !ok)
    return {ec::bad_file, "is no store of experts: coel pack writes one"};
  auto size = store_header_bytes(bytes);
  if (!size)
    return size.err();
  auto about = file.about();
  if (!about || static_cast<uint64_t>(about->st_size) < *size)
    return {ec::bad_file, "the store is cut short: write it again with coel pack"};
  bytes.resize(*size);
  if (auto ok = file.read_at(0, bytes); !ok)
    return ok.err();
  return store_header::decode(bytes);
}

/// Errors: unsupported, io.
result<void> check_is_of(const store_header& h, const source& of,
                         const compute::kept_layout& layout) {
  if (h.layout != layout.name())
    return {ec::unsupported, "was packed for devices of another kind (layout '" + h.layout +
                                 "', this one has '" + std::string(layout.name()) +
                                 "'): write it again with coel pack on this machine"};
  auto sample = sample_of(of);
  if (!sample)
    return sample.err();
  if (h.source_bytes != of.info().file_bytes || h.layers != of.config().layers ||
      h.experts != of.config().experts || h.source_sample != *sample)
    return {ec::unsupported, "was packed from another model than " +
                                 of.info().files.front().string() +
                                 ", or that has changed since: write it again with coel pack"};
  return {};
}

} // namespace

std::filesystem::path usual_store_path(const std::filesystem::path& model) {
  auto path = model.has_filename() ? model : model.parent_path(); // a folder as "name/"
  path += ".experts";
  return path;
}

result<expert_store_ptr> expert_store::open(const std::filesystem::path& path, const source_ptr& of,
                                            const compute::kept_layout& layout) {
  auto named = [&](const error& e) { return error{e.code, path.string() + ": " + e.message}; };
  auto file = direct_file::open(path); // names it itself
  if (!file)
    return file.err();
  auto reads = file_handle::open_to_read(path);
  if (!reads)
    return reads.err();
  auto h = read_header(*reads);
  if (!h)
    return named(h.err());
  if (auto ok = check_is_of(*h, *of, layout); !ok)
    return named(ok.err());
  std::shared_ptr<expert_store> made(new expert_store(of, layout, std::move(*file)));
  if (auto ok = made->take(*h); !ok)
    return named(ok.err());
  if (auto same = made->file_->check_unchanged(); !same)
    return same.err();
  return expert_store_ptr(made);
}

result<void> expert_store::take(const store_header& h) {
  const auto& c = source_->config();
  for (uint32_t l = 0; l < c.layers; ++l)
    for (uint32_t e = 0; e < c.experts; ++e) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      auto places = places_of(*source_, layout_, key);
      if (!places)
        return places.err();
      const auto& at = h.index[slot(key)];
      if (at.bytes != places->bytes || at.offset % direct_file::alignment != 0 ||
          at.bytes > file_->size() || at.offset > file_->size() - at.bytes)
        return {ec::bad_file, "the store is cut short or damaged: write it again with coel pack"};
      entries_.push_back({at.offset, at.bytes, at.checksum});
      bytes_.push_back(at.bytes);
      largest_ = std::max(largest_, at.bytes);
      all_ += at.bytes;
    }
  return {};
}

void expert_store::tell(memory_needs& needs) const {
  needs.expert_bytes = largest_;
  needs.routed_bytes = all_;
  needs.read_bytes = 0;
}

file_piece expert_store::piece(expert_key key) const {
  const auto& e = entries_[slot(key)];
  return {file_, e.offset, e.bytes};
}

result<void> expert_store::check(expert_key key, std::span<const std::byte> bytes) const {
  const auto& e = entries_[slot(key)];
  if (bytes.size() == e.bytes && XXH64(bytes.data(), bytes.size(), 0) == e.checksum)
    return {};
  return {ec::bad_file, path().string() + ": expert " + to_string(key) +
                            " is damaged: write the store again with coel pack, or remove it"};
}

result<std::shared_ptr<compute::expert_weights>>
expert_store::adopt(expert_key key, compute::buffer_ptr memory) const {
  auto places = places_of(*source_, layout_, key);
  if (!places)
    return places.err();
  std::vector<compute::weight_ptr> pieces;
  for (size_t i = 0; i < places->matrices.size(); ++i) {
    auto made = layout_.adopt(places->matrices[i], memory, places->offsets[i]);
    if (!made)
      return made.err();
    pieces.push_back(std::move(*made));
  }
  auto expert = expert_of(pieces);
  expert->bytes = memory->size_bytes();
  return expert;
}

} // namespace coel::model
