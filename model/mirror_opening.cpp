#include "model/mirror_opening.hpp"

#include "model/gguf_model.hpp"
#include "model/hf_model.hpp"
#include "model/mirror_header.hpp"

#include <algorithm>

namespace coel::model {

namespace {

bool is_hf(const manifest& model) {
  return std::any_of(model.files().begin(), model.files().end(),
                     [](const auto& file) { return file.name == "config.json"; });
}

/// The part of a file that opening it reads, as far as it can be told by now.
result<uint64_t> opening_bytes(const mirror& from, uint32_t file) {
  const auto& name = from.description().files()[file].name;
  if (name.ends_with(".gguf"))
    return gguf_header_bytes(from, file);
  if (name.ends_with(".safetensors"))
    return safetensors_header_bytes(from, file);
  return from.description().files()[file].size;
}

} // namespace

result<std::vector<byte_range>> opening_ranges(const mirror& from) {
  const auto& files = from.description().files();
  if (!is_hf(from.description()) && !files.front().name.ends_with(".gguf"))
    return {ec::bad_file, from.folder().string() +
                              ": neither a GGUF file nor a Hugging Face folder is described"};
  std::vector<byte_range> needed;
  for (uint32_t i = 0; i < files.size(); ++i) {
    auto bytes = opening_bytes(from, i);
    if (!bytes)
      return bytes.err();
    for (auto chunk : from.missing({i, 0, *bytes})) {
      auto at = from.description().place(chunk);
      auto* last = needed.empty() ? nullptr : &needed.back();
      if (last && last->file == at.file && last->offset + last->length == at.offset)
        last->length += at.length;
      else
        needed.push_back(at);
    }
  }
  return needed;
}

result<source_ptr> open_mirror(const mirror& from) {
  auto needed = opening_ranges(from);
  if (!needed)
    return needed.err();
  if (!needed->empty())
    return {ec::bad_file, from.folder().string() + ": the headers of the model are not here yet"};
  if (is_hf(from.description()))
    return open_hf(from.folder());
  return open_gguf(from.folder() / from.description().files().front().name);
}

} // namespace coel::model
