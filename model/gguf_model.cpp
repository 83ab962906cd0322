#include "model/gguf_model.hpp"

#include "model/quoted.hpp"
#include "model/table_source.hpp"

#include <set>

namespace coel::model {

namespace {

std::string name_of(const gguf_file& file, const std::filesystem::path& path) {
  const auto* title = file.text("general.name");
  return title && !title->empty() ? printable(*title) : path.stem().string();
}

/// Finds tensors by role and counts which of the file's have been found.
class finder {
 public:
  finder(const gguf_file& file, const model_config& config, std::string path)
      : file_(file), config_(config), path_(std::move(path)) {
    for (const auto& [name, tensor] : file.tensors())
      unused_.insert(name);
  }

  result<table_source::located> find(const tensor_key& key) {
    auto name = gguf_tensor_name(key.what, index(key.layer));
    const auto* tensor = file_.tensor(name);
    if (tensor && is_expert_role(key.what))
      return slice(name, *tensor, key);
    if (!tensor && is_expert_role(key.what)) {
      name = gguf_expert_name(key);
      tensor = file_.tensor(name);
    }
    if (!tensor)
      return {ec::bad_file, path_ + ": tensor " + in_quotes(name) + " is missing"};
    unused_.erase(name);
    return table_source::located{name, tensor->data};
  }

  /// A tensor that the layer graph would leave out changes the model: rather refuse it.
  result<void> all_used() const {
    if (unused_.empty())
      return {};
    return {ec::unsupported, path_ + ": tensor " + in_quotes(*unused_.begin()) +
                                 " has no place in a model of family " + config_.family};
  }

 private:
  /// An expert's rows of the stacked tensor.
  result<table_source::located> slice(const std::string& name, const gguf_tensor& tensor,
                                      const tensor_key& key) {
    auto rows = required_shape(config_, key.what)->rows;
    if (tensor.data.rows != rows * config_.experts)
      return {ec::bad_file, path_ + ": tensor " + in_quotes(name) + " does not hold " +
                                std::to_string(config_.experts) + " experts of " +
                                std::to_string(rows) + " rows"};
    unused_.erase(name);
    return table_source::located{name, tensor.data.row_slice(rows * index(key.expert), rows)};
  }

  const gguf_file& file_;
  const model_config& config_;
  std::string path_;
  std::set<std::string_view> unused_;
};

} // namespace

result<source_ptr> open_gguf(const std::filesystem::path& path) {
  auto file = gguf_file::open(path);
  if (!file)
    return file.err();
  auto named = [&](const error& e) { return error{e.code, path.string() + ": " + e.message}; };
  auto config = gguf_config(*file);
  if (!config)
    return named(config.err());
  config->name = name_of(*file, path);
  auto vocabulary = gguf_vocabulary(*file);
  if (!vocabulary)
    return named(vocabulary.err());
  source_info about;
  about.format = "GGUF v" + std::to_string(file->version());
  for (const auto& part : file->files())
    about.files.push_back(part->path());
  finder tensors(*file, *config, path.string());
  auto model =
      table_source::make(path, *config, std::move(*vocabulary), std::move(about), file->files(),
                         [&](const tensor_key& key) { return tensors.find(key); });
  if (auto ok = tensors.all_used(); model && !ok)
    return ok.err();
  return model;
}

} // namespace coel::model
