#include "model/hf_model.hpp"

#include "model/hf_tokenizer.hpp"
#include "model/json.hpp"
#include "model/safetensors.hpp"
#include "model/table_source.hpp"

#include <set>

namespace coel::model {

namespace {

using nlohmann::json;

/// What the layer graph does not compute; better refused than answered wrongly.
result<void> refuse_unsupported(const json& j) {
  auto is_set = [&](const char* key) { return j.contains(key) && !j[key].is_null(); };
  if (is_set("rope_scaling")) {
    const auto& scaling = j["rope_scaling"];
    std::string type = scaling.value("type", scaling.value("rope_type", "?"));
    if (type != "linear" && type != "default")
      return {ec::unsupported, "rope_scaling '" + type + "' is not supported (linear is)"};
  }
  if (j.value("use_sliding_window", false) ||
      (is_set("sliding_window") && !j.contains("use_sliding_window")))
    return {ec::unsupported, "sliding-window attention"};
  if (j.value("decoder_sparse_step", 1) != 1 ||
      (is_set("mlp_only_layers") && !j["mlp_only_layers"].empty()))
    return {ec::unsupported, "layers without experts (decoder_sparse_step, mlp_only_layers)"};
  if (is_set("clip_qkv"))
    return {ec::unsupported, "clip_qkv"};
  if (j.value("hidden_act", "silu") != "silu")
    return {ec::unsupported, "activation '" + j.value("hidden_act", "?") + "' (silu is supported)"};
  if (is_set("quantization_config"))
    return {ec::unsupported, "quantised safetensors: use the GGUF of this model"};
  return {};
}

/// Throws json exceptions on missing or mistyped keys; open_hf turns them into bad_file.
result<model_config> config_of(const json& j) {
  auto type = j.at("model_type").get<std::string>();
  const auto* f = family_of_hf(type);
  if (!f)
    return {ec::unsupported, "model_type '" + type + "' is not one of " + known_families()};
  if (auto ok = refuse_unsupported(j); !ok)
    return ok.err();
  auto number = [&](std::string_view key) {
    auto v = j.at(std::string(key)).get<int64_t>();
    return v < 0 || v > UINT32_MAX ? 0u : static_cast<uint32_t>(v);   // 0 is refused by check()
  };
  model_config c;
  c.family = f->name;
  c.layers = number("num_hidden_layers");
  c.hidden = number("hidden_size");
  c.heads = number("num_attention_heads");
  c.kv_heads = j.contains("num_key_value_heads") ? number("num_key_value_heads") : c.heads;
  bool own_head_dim = j.contains("head_dim") && !j["head_dim"].is_null();
  c.head_dim = own_head_dim ? number("head_dim") : c.heads ? c.hidden / c.heads : 0;
  c.experts = number(f->hf_experts_key);
  c.top_k = number("num_experts_per_tok");
  c.expert_ff = number(f->hf_expert_ff_key);
  if (f->shared_expert)
    c.shared_ff = number("shared_expert_intermediate_size");
  c.vocab = number("vocab_size");
  c.context = number("max_position_embeddings");
  c.rms_eps = j.value("rms_norm_eps", 1e-6f);
  c.rope = {compute::rope_style::half, c.head_dim, j.value("rope_theta", 10000.f), 1.f};
  if (j.contains("rope_scaling") && j["rope_scaling"].is_object() && j["rope_scaling"].contains("factor"))
    c.rope.scale = 1.f / j["rope_scaling"]["factor"].get<float>();
  c.qk = f->qk;
  c.qkv_bias = f->qkv_bias && j.value("qkv_bias", true);
  c.shared_gated = f->shared_expert;
  c.renormalise = j.value("norm_topk_prob", f->renormalise);
  c.tied_output = j.value("tie_word_embeddings", false);
  return c;
}

/// model.safetensors, or the shards that the index names.
result<std::vector<std::filesystem::path>> shards(const std::filesystem::path& directory) {
  auto single = directory / "model.safetensors", index_path = directory / "model.safetensors.index.json";
  if (!std::filesystem::exists(index_path))
    return std::vector{single};
  auto parsed = read_json(index_path);
  if (!parsed)
    return parsed.err();
  std::set<std::string> names;
  try {
    for (const auto& [tensor, file] : parsed->at("weight_map").items())
      names.insert(file.get<std::string>());
  } catch (const std::exception& e) {
    return {ec::bad_file, index_path.string() + ": " + e.what()};
  }
  std::vector<std::filesystem::path> files;
  for (const auto& name : names) {
    if (name.empty() || name.find('/') != std::string::npos || name == "..")
      return {ec::bad_file, index_path.string() + ": '" + name + "' is not a plain file name"};
    files.push_back(directory / name);
  }
  return files;
}

} // namespace

result<source_ptr> open_hf(const std::filesystem::path& directory) {
  auto path = directory / "config.json";
  auto parsed = read_json(path, 16u << 20);
  if (!parsed)
    return parsed.err();
  auto config = [&]() -> result<model_config> {
    try {
      return config_of(*parsed);
    } catch (const std::exception& e) {
      return {ec::bad_file, e.what()};
    }
  }();
  if (!config)
    return {config.err().code, path.string() + ": " + config.err().message};
  config->name = std::filesystem::absolute(directory / ".").parent_path().filename().string();
  auto vocabulary = read_hf_tokenizer(directory);
  if (!vocabulary)
    return vocabulary.err();
  auto parts = shards(directory);
  if (!parts)
    return parts.err();
  source_info about{"safetensors", *parts, 0, 0, {}};
  std::vector<mapped_file_ptr> files;
  tensor_map tensors;
  for (const auto& part : *parts) {
    auto file = mapped_file::open(part);
    if (!file)
      return file.err();
    if (auto ok = read_safetensors(*file, tensors); !ok)
      return ok.err();
    files.push_back(*file);
  }
  const auto& f = *family_of_gguf(config->family);
  auto where = [&](const tensor_key& key) -> result<compute::matrix_view> {
    auto name = hf_tensor_name(f, key);
    auto found = tensors.find(name);
    if (found == tensors.end())
      return {ec::bad_file, directory.string() + ": tensor '" + name +
                                "' is missing (or not of type F32, F16 or BF16)"};
    return found->second;
  };
  return table_source::make(*config, std::move(*vocabulary), std::move(about), std::move(files), where);
}

} // namespace coel::model
