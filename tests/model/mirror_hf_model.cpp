// A Hugging Face folder made from a random GGUF model: same matrices, other files.
#include "model/family.hpp"
#include "model/random_model.hpp"
#include "model/source.hpp"
#include "tests/model/mirror_support.hpp"

#include <nlohmann/json.hpp>

namespace coel::model::test {

namespace {

using nlohmann::json;

json config_json(const model_config& c) {
  return {{"model_type", "olmoe"},
          {"num_hidden_layers", c.layers},
          {"hidden_size", c.hidden},
          {"num_attention_heads", c.heads},
          {"num_key_value_heads", c.kv_heads},
          {"num_experts", c.experts},
          {"num_experts_per_tok", c.top_k},
          {"intermediate_size", c.expert_ff},
          {"vocab_size", c.vocab},
          {"max_position_embeddings", c.context},
          {"hidden_act", "silu"},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"norm_topk_prob", false},
          {"tie_word_embeddings", false}};
}

json tokenizer_json() {
  json vocabulary;
  for (int i = 0; i < 26; ++i)
    vocabulary[std::string(1, static_cast<char>('a' + i))] = i;
  return {
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::array()}}},
      {"added_tokens", json::array()},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}};
}

/// Every second tensor, from `first`; vectors are stored as F32, matrices as they are.
json write_shard(const std::filesystem::path& path, const source& from, size_t first) {
  json header;
  std::string data;
  auto keys = required_tensors(from.config());
  for (size_t i = first; i < keys.size(); i += 2) {
    auto view = *from.matrix(keys[i]);
    auto begin = data.size();
    data.append(reinterpret_cast<const char*>(view.data), view.bytes());
    auto name = hf_tensor_name(*family_of_hf("olmoe"), keys[i]);
    auto shape = view.rows == 1 ? json{view.cols} : json{view.rows, view.cols};
    header[name] = {{"dtype", view.type == dtype::f32 ? "F32" : "F16"},
                    {"shape", shape},
                    {"data_offsets", {begin, data.size()}}};
  }
  auto text = header.dump();
  text.append(-text.size() % 8, ' ');
  uint64_t length = text.size();
  write(path, std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data);
  return header;
}

} // namespace

void write_hf_model(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  auto gguf = folder / "made-from.gguf";
  need(write_random_model(gguf, {*shape_by_name("tiny-olmoe"), dtype::f16, 0.8f, 1}, 2));
  auto from = need(open_model(gguf));
  json map;
  for (size_t shard = 0; shard < 2; ++shard) {
    auto name = "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
    auto held = write_shard(folder / name, *from, shard);
    for (const auto& [tensor, about] : held.items())
      map[tensor] = name;
  }
  write(folder / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
  write(folder / "config.json", config_json(from->config()).dump());
  write(folder / "tokenizer.json", tokenizer_json().dump());
  std::filesystem::remove(gguf);
}

} // namespace coel::model::test
