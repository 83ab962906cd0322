// Hugging Face directories of small random models, for tests.
#pragma once

#include "model/family.hpp"
#include "model/gguf_model.hpp"
#include "model/random_model.hpp"
#include "tests/model/model_files.hpp"

#include <nlohmann/json.hpp>

namespace coel::test {

using nlohmann::json;

/// One tensor as safetensors has it.
struct hf_tensor {
  std::string type;
  std::vector<uint64_t> shape;
  std::string bytes;
};
using hf_tensors = std::map<std::string, hf_tensor>;

inline std::string safetensors_bytes(const hf_tensors& tensors) {
  json header = json::object();
  std::string data;
  for (const auto& [name, t] : tensors) {
    header[name] = {{"dtype", t.type},
                    {"shape", t.shape},
                    {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
    data += t.bytes;
  }
  return raw_text(header.dump()) + data;
}

/// A directory before it is written: every file of it can be changed to nonsense.
struct hf_draft {
  json config, tokenizer, index;
  std::vector<hf_tensors> shards;

  static std::string shard_name(size_t i) {
    return "model-0000" + std::to_string(i + 1) + ".safetensors";
  }
  /// The shard that holds a tensor.
  hf_tensors& shard_of(const std::string& name) {
    for (auto& s : shards)
      if (s.contains(name))
        return s;
    BOOST_FAIL(name << " is in no shard");
    return shards[0];
  }
  hf_tensor& tensor(const std::string& name) { return shard_of(name).at(name); }
  void write(const scratch& to) const {
    to.put("config.json", config.dump());
    to.put("tokenizer.json", tokenizer.dump());
    to.put("model.safetensors.index.json", index.dump());
    for (size_t i = 0; i < shards.size(); ++i)
      to.put(shard_name(i), safetensors_bytes(shards[i]));
  }
};

inline json hf_config_of(const model::model_config& c) {
  const auto& f = *model::family_of_gguf(c.family);
  json j = {{"model_type", f.hf_model_type},
            {"num_hidden_layers", c.layers},
            {"hidden_size", c.hidden},
            {"num_attention_heads", c.heads},
            {"num_key_value_heads", c.kv_heads},
            {"head_dim", c.head_dim},
            {"num_experts_per_tok", c.top_k},
            {"vocab_size", c.vocab},
            {"max_position_embeddings", c.context},
            {"rms_norm_eps", c.rms_eps},
            {"rope_theta", c.rope.base},
            {"norm_topk_prob", c.renormalise},
            {"tie_word_embeddings", c.tied_output}};
  j[std::string(f.hf_experts_key)] = c.experts;
  j[std::string(f.hf_expert_ff_key)] = c.expert_ff;
  if (f.shared_expert)
    j["shared_expert_intermediate_size"] = c.shared_ff;
  return j;
}

inline json hf_tokenizer_of(const model::tokenizer_data& d) {
  json vocab = json::object(), added = json::array();
  for (size_t i = 0; i < d.tokens.size(); ++i)
    if (d.types[i] == model::token_type::control)
      added.push_back({{"id", i}, {"content", d.tokens[i]}, {"special", true}});
    else
      vocab[d.tokens[i]] = i;
  return {{"added_tokens", added},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", d.merges}}}};
}

inline hf_tensor hf_tensor_of(const compute::matrix_view& view) {
  hf_tensor t{view.type == dtype::f32 ? "F32" : "F16", {view.rows, view.cols}, {}};
  if (view.rows == 1)
    t.shape.erase(t.shape.begin());
  for (uint64_t r = 0; r < view.rows; ++r)
    t.bytes.append(reinterpret_cast<const char*>(view.row(r)), row_bytes(view.type, view.cols));
  return t;
}

/// The model's tensors are dealt out to `shards` files in turn, so that an expert's parts lie in
/// different ones.
inline hf_draft hf_draft_of(const model::source& from, size_t shards) {
  const auto& c = from.config();
  const auto& f = *model::family_of_gguf(c.family);
  hf_draft d{hf_config_of(c), hf_tokenizer_of(from.vocabulary()), json::object(), {}};
  d.shards.resize(shards);
  size_t next = 0;
  for (const auto& key : model::required_tensors(c)) {
    const auto name = model::hf_tensor_name(f, key);
    d.shards[next % shards].emplace(name, hf_tensor_of(*from.matrix(key)));
    d.index["weight_map"][name] = hf_draft::shard_name(next++ % shards);
  }
  return d;
}

} // namespace coel::test
