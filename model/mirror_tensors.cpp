#include "model/mirror_tensors.hpp"

#include "model/family.hpp"
#include "model/gguf.hpp"
#include "model/manifest_files.hpp"
#include "model/safetensors.hpp"
#include "model/weights.hpp"

#include <map>
#include <optional>

namespace coel::model {

namespace {

struct placed {
  const std::byte* data = nullptr;
  const mapped_file* file = nullptr;
};

error no_tensor(const std::string& name) {
  return {ec::bad_file, "the model has no tensor '" + name + "'"};
}

/// The files of a model, mapped once more: a source does not tell where its matrices lie.
struct containers {
  std::optional<gguf_file> gguf;
  tensor_map safetensors;
  const family* names = nullptr;
  std::vector<mapped_file_ptr> files;
};

result<containers> map_again(const source& opened) {
  const auto& paths = opened.info().files;
  containers c;
  c.names = family_of_gguf(opened.config().family);
  if (opened.info().format.starts_with("GGUF")) {
    auto again = gguf_file::open(paths.front());
    if (!again)
      return again.err();
    c.gguf = std::move(*again);
    c.files = c.gguf->files();
    return c;
  }
  for (const auto& path : paths) {
    auto file = mapped_file::open(path);
    if (!file)
      return file.err();
    if (auto ok = read_safetensors(*file, c.safetensors); !ok)
      return ok.err();
    c.files.push_back(*file);
  }
  return c;
}

/// Index of each mapped file in the manifest; both lists are in order of the parts' names.
result<std::map<const mapped_file*, uint32_t>> indices_of(const containers& c,
                                                          const manifest& description) {
  std::map<const mapped_file*, uint32_t> indices;
  const auto& described = description.files();
  for (uint32_t i = 0; i < described.size() && indices.size() < c.files.size(); ++i) {
    const auto& next = c.files[indices.size()];
    bool weights = c.gguf ? described[i].name.ends_with(".gguf")
                          : described[i].name == next->path().filename();
    if (weights && next->bytes().size() == described[i].size)
      indices.emplace(next.get(), i);
  }
  if (indices.size() != c.files.size())
    return {ec::bad_file,
            c.files.front()->path().string() + ": not the model that the description is of"};
  return indices;
}

result<placed> in_gguf(const gguf_file& file, const tensor_key& key, uint64_t rows) {
  auto name = gguf_tensor_name(key.what, index(key.layer));
  const auto* found = file.tensor(name);
  if (found && is_expert_role(key.what))
    return placed{found->data.row(rows * index(key.expert)), found->file.get()};
  if (!found && is_expert_role(key.what)) {
    name = gguf_expert_name(key);
    found = file.tensor(name);
  }
  if (!found)
    return no_tensor(name);
  return placed{found->data.data, found->file.get()};
}

result<placed> in_safetensors(const containers& c, const tensor_key& key) {
  auto name = hf_tensor_name(*c.names, key);
  auto i = c.safetensors.tensors.find(name);
  if (i == c.safetensors.tensors.end())
    return no_tensor(name);
  for (const auto& file : c.files)
    if (file.get() == i->second.owner.get())
      return placed{i->second.data, file.get()};
  return no_tensor(name);
}

} // namespace

uint64_t tensor_places::slot(const tensor_key& key) {
  bool in_layer = is_layer_role(key.what), in_expert = is_expert_role(key.what);
  return uint64_t{static_cast<uint8_t>(key.what)} << 32 |
         uint64_t{in_layer ? index(key.layer) : uint16_t{}} << 16 |
         uint64_t{in_expert ? index(key.expert) : uint16_t{}};
}

result<tensor_places> tensor_places::find(const source& opened, const manifest& description) {
  auto files = map_again(opened);
  if (!files)
    return files.err();
  auto indices = indices_of(*files, description);
  if (!indices)
    return indices.err();
  tensor_places places;
  places.routed_ = opened.config().experts;
  places.slices_ = shared_slices(opened);
  for (const auto& key : required_tensors(opened.config())) {
    auto view = opened.matrix(key);
    if (!view)
      return view.err();
    auto found = files->gguf ? in_gguf(*files->gguf, key, view->rows) : in_safetensors(*files, key);
    if (!found)
      return found.err();
    auto offset = static_cast<uint64_t>(found->data - found->file->bytes().data());
    byte_range range{indices->at(found->file), offset, view->bytes()};
    if (!description.contains(range))
      return {ec::bad_file, found->file->path().string() + ": changed since it was opened"};
    places.add(key, range);
  }
  return places;
}

void tensor_places::add(const tensor_key& key, const byte_range& range) {
  ranges_.emplace(slot(key), range);
  bool shared = key.what >= role::shared_gate && key.what <= role::shared_down;
  if (!shared && !is_expert_role(key.what))
    dense_.push_back(range);
}

result<byte_range> tensor_places::of(const tensor_key& key) const {
  auto i = ranges_.find(slot(key));
  if (i == ranges_.end())
    return no_tensor(gguf_tensor_name(key.what, index(key.layer)));
  return i->second;
}

result<std::vector<byte_range>> tensor_places::of_expert(expert_key key) const {
  auto id = index(key.expert);
  if (id >= routed_ + slices_)
    return {ec::bad_file, "the model has no expert " + to_string(key)};
  bool routed = id < routed_;
  constexpr role of_routed[] = {role::expert_gate, role::expert_up, role::expert_down};
  constexpr role of_shared[] = {role::shared_gate, role::shared_up, role::shared_down};
  std::vector<byte_range> ranges;
  for (auto what : routed ? of_routed : of_shared) {
    auto range = of({what, key.layer, key.expert});
    if (!range)
      return range.err();
    if (what == role::shared_gate || what == role::shared_up) {
      range->length /= slices_;
      range->offset += range->length * (id - routed_);
    }
    ranges.push_back(*range);
  }
  return ranges;
}

} // namespace coel::model
