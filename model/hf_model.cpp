#include "model/hf_model.hpp"

#include "model/hf_config.hpp"
#include "model/hf_tokenizer.hpp"
#include "model/json.hpp"
#include "model/quoted.hpp"
#include "model/safetensors.hpp"
#include "model/table_source.hpp"

#include <set>

namespace coel::model {

namespace {

constexpr uint64_t max_config_bytes = 4 << 20;
constexpr uint64_t max_index_bytes = 64 << 20;

/// Runs a reader over a JSON file; its errors then name the file.
template <class Read>
auto read_file(const std::filesystem::path& path, uint64_t most_bytes, Read read)
    -> decltype(read(nlohmann::json{})) {
  auto parsed = read_json(path, most_bytes);
  if (!parsed)
    return parsed.err();
  auto value = read(*parsed);
  if (!value)
    return {value.err().code, path.string() + ": " + value.err().message};
  return value;
}

/// model.safetensors, or the shards that the index names.
result<std::vector<std::filesystem::path>> files_of(const std::filesystem::path& directory) {
  auto index = directory / "model.safetensors.index.json";
  std::error_code ignored;
  if (!std::filesystem::exists(index, ignored))
    return std::vector{directory / "model.safetensors"};
  auto names = read_file(index, max_index_bytes, hf_shards);
  if (!names)
    return names.err();
  std::vector<std::filesystem::path> files;
  for (const auto& name : *names)
    files.push_back(directory / name);
  return files;
}

/// The directory's own name, also where the path ends in "." or "/".
std::string name_of(const std::filesystem::path& directory) {
  std::error_code failed;
  const auto whole = std::filesystem::absolute(directory / ".", failed);
  return failed ? std::string("model")
                : printable(whole.lexically_normal().parent_path().filename().string());
}

/// Finds tensors by role and counts which of the files' have been found.
class finder {
 public:
  finder(const tensor_map& from, const model_config& config, std::string path)
      : from_(from), family_(*family_of_gguf(config.family)), path_(std::move(path)) {
    for (const auto& [name, tensor] : from.tensors)
      unused_.insert(name);
    // Tables that some exporters wrote out, and an output matrix that is the embedding.
    std::erase_if(unused_,
                  [](std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); });
    if (config.tied_output)
      unused_.erase(hf_tensor_name(family_, {role::output, {}, {}}));
  }

  result<table_source::located> find(const tensor_key& key) {
    auto name = hf_tensor_name(family_, key);
    if (auto other = from_.of_other_types.find(name); other != from_.of_other_types.end())
      return {ec::unsupported, path_ + ": tensor " + in_quotes(name) + " is of type " +
                                   in_quotes(other->second) +
                                   "; this build reads F32, F16 and BF16"};
    auto found = from_.tensors.find(name);
    if (found == from_.tensors.end())
      return {ec::bad_file, path_ + ": tensor " + in_quotes(name) + " is missing"};
    unused_.erase(found->first);
    return table_source::located{name, found->second};
  }

  /// A tensor that the layer graph would leave out changes the model: rather refuse it.
  result<void> all_used() const {
    if (unused_.empty())
      return {};
    return {ec::unsupported, path_ + ": tensor " + in_quotes(*unused_.begin()) +
                                 " has no place in a model of type " +
                                 std::string(family_.hf_model_type)};
  }

 private:
  const tensor_map& from_;
  const family& family_;
  std::string path_;
  std::set<std::string_view> unused_;
};

} // namespace

result<source_ptr> open_hf(const std::filesystem::path& directory) {
  auto config = read_file(directory / "config.json", max_config_bytes, hf_config);
  if (!config)
    return config.err();
  config->name = name_of(directory);
  auto vocabulary = read_hf_tokenizer(directory);
  if (!vocabulary)
    return vocabulary.err();
  auto paths = files_of(directory);
  if (!paths)
    return paths.err();
  std::vector<mapped_file_ptr> files;
  tensor_map found;
  for (const auto& path : *paths) {
    auto file = mapped_file::open(path);
    if (!file)
      return file.err();
    if (auto ok = read_safetensors(*file, found); !ok)
      return ok.err();
    files.push_back(*file);
  }
  source_info about{"safetensors", *paths, 0, 0, {}};
  finder tensors(found, *config, directory.string());
  auto model = table_source::make(directory, *config, std::move(*vocabulary), std::move(about),
                                  std::move(files),
                                  [&](const tensor_key& key) { return tensors.find(key); });
  if (auto ok = tensors.all_used(); model && !ok)
    return ok.err();
  return model;
}

} // namespace coel::model
