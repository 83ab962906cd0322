#include "model/gguf_writer_layout.hpp"

#include "model/family.hpp"

#include <map>

namespace coel::model {

namespace {

bool always_f32(role what) {
  switch (what) {
  case role::output_norm:
  case role::attn_norm:
  case role::attn_q_bias:
  case role::attn_k_bias:
  case role::attn_v_bias:
  case role::attn_q_norm:
  case role::attn_k_norm:
  case role::ffn_norm:
  case role::router:
  case role::shared_router:
    return true;
  default:
    return false;
  }
}

dtype meant_type(const model_config& config, role what, dtype asked) {
  if (always_f32(what))
    return dtype::f32;
  bool is_output = what == (config.tied_output ? role::token_embedding : role::output);
  bool few_bits = asked == dtype::q4_0 || asked == dtype::q4_k || asked == dtype::q5_k;
  return is_output && few_bits ? dtype::q6_k : asked;
}

dtype fitting_type(dtype meant, uint64_t cols) {
  for (dtype t : {meant, dtype::q8_0, dtype::f16})
    if (cols % info(t).block_elements == 0)
      return t;
  return dtype::f16;
}

/// general.file_type: the format's number for "mostly this type".
uint32_t file_type(dtype type) {
  switch (type) {
  case dtype::f32:
    return 0;
  case dtype::f16:
    return 1;
  case dtype::q4_0:
    return 2;
  case dtype::q8_0:
    return 7;
  case dtype::q4_k:
    return 15;
  case dtype::q5_k:
    return 17;
  case dtype::q6_k:
    return 18;
  case dtype::bf16:
    return 32;
  }
  return 0;
}

void add_model(std::vector<gguf_pair>& kv, const model_config& c) {
  const auto& f = *family_of_gguf(c.family);
  std::string p = c.family + ".";
  kv.insert(kv.end(), {{p + "block_count", c.layers},
                       {p + "context_length", c.context},
                       {p + "embedding_length", c.hidden},
                       {p + "feed_forward_length", c.shared_ff ? c.shared_ff : c.expert_ff},
                       {p + "attention.head_count", c.heads},
                       {p + "attention.head_count_kv", c.kv_heads},
                       {p + "attention.key_length", c.head_dim},
                       {p + "attention.value_length", c.head_dim},
                       {p + "attention.layer_norm_rms_epsilon", c.rms_eps},
                       {p + "rope.dimension_count", c.rope.dims},
                       {p + "rope.freq_base", c.rope.base},
                       {p + "expert_count", c.experts},
                       {p + "expert_used_count", c.top_k},
                       {p + "expert_feed_forward_length", c.expert_ff},
                       {p + "vocab_size", c.vocab}});
  if (c.shared_ff)
    kv.push_back({p + "expert_shared_feed_forward_length", c.shared_ff});
  if (c.renormalise != f.renormalise)
    kv.push_back({p + "expert_weights_norm", c.renormalise});
  if (c.rope.scale != 1.f) {
    kv.push_back({p + "rope.scaling.type", std::string("linear")});
    kv.push_back({p + "rope.scaling.factor", 1.f / c.rope.scale});
  }
}

void add_token_lists(std::vector<gguf_pair>& kv, tokenizer_data d, uint32_t vocab) {
  bool spm = d.kind == tokenizer_data::algorithm::spm;
  if (d.types.empty())
    d.types.assign(d.tokens.size(), token_type::normal);
  for (size_t i = d.tokens.size(); i < vocab; ++i) {
    d.tokens.push_back("[PAD" + std::to_string(i) + "]");
    d.types.push_back(token_type::unused);
  }
  std::vector<int32_t> types;
  for (auto t : d.types)
    types.push_back(static_cast<int32_t>(t));
  if (spm)
    d.scores.resize(d.tokens.size());
  kv.push_back({"tokenizer.ggml.tokens", std::move(d.tokens)});
  kv.push_back({"tokenizer.ggml.token_type", std::move(types)});
  if (spm)
    kv.push_back({"tokenizer.ggml.scores", std::move(d.scores)});
  else
    kv.push_back({"tokenizer.ggml.merges", std::move(d.merges)});
}

void add_vocabulary(std::vector<gguf_pair>& kv, const tokenizer_data& d, uint32_t vocab) {
  bool spm = d.kind == tokenizer_data::algorithm::spm;
  kv.push_back({"tokenizer.ggml.model", std::string(spm ? "llama" : "gpt2")});
  if (!d.pre.empty())
    kv.push_back({"tokenizer.ggml.pre", d.pre});
  add_token_lists(kv, d, vocab);
  auto id = [&](const char* key, std::optional<int32_t> token) {
    if (token && *token >= 0)
      kv.push_back({std::string("tokenizer.ggml.") + key, static_cast<uint32_t>(*token)});
  };
  id("bos_token_id", d.bos);
  id("eos_token_id", d.eos);
  id("eot_token_id", d.eot);
  id("unknown_token_id", d.unk);
  id("padding_token_id", d.pad);
  kv.push_back({"tokenizer.ggml.add_bos_token", d.add_bos});
  kv.push_back({"tokenizer.ggml.add_eos_token", d.add_eos});
  if (spm)
    kv.push_back({"tokenizer.ggml.add_space_prefix", d.add_space_prefix});
  if (!d.chat_template.empty())
    kv.push_back({"tokenizer.chat_template", d.chat_template});
}

} // namespace

std::vector<stored_tensor> plan_tensors(const model_config& config, dtype asked) {
  std::vector<stored_tensor> tensors;
  for (const auto& key : required_tensors(config)) {
    bool stacked = is_expert_role(key.what);
    if (stacked && index(key.expert) != 0)
      continue;
    auto shape = *required_shape(config, key.what);
    auto meant = meant_type(config, key.what, asked);
    auto type = fitting_type(meant, shape.cols);
    tensors.push_back({key.what, key.layer, shape.rows, shape.cols, stacked ? config.experts : 1,
                       type, type != meant});
  }
  return tensors;
}

gguf_tensor_info file_info(const stored_tensor& t) {
  std::vector<uint64_t> shape{t.cols};
  if (!always_f32(t.what) || t.rows > 1)
    shape.push_back(t.rows);
  if (is_expert_role(t.what))
    shape.push_back(t.stack);
  return {gguf_tensor_name(t.what, index(t.layer)), t.type, std::move(shape)};
}

std::vector<gguf_pair> file_metadata(const model_config& config, const tokenizer_data& vocabulary,
                                     dtype asked) {
  std::vector<gguf_pair> kv{{"general.architecture", config.family},
                            {"general.name", config.name},
                            {"general.quantization_version", uint32_t{2}},
                            {"general.file_type", file_type(asked)}};
  add_model(kv, config);
  add_vocabulary(kv, vocabulary, config.vocab);
  return kv;
}

std::string describe_fallbacks(const std::vector<stored_tensor>& tensors) {
  std::map<std::string, uint32_t> counts;
  for (const auto& t : tensors)
    if (t.fell_back) {
      auto name = gguf_tensor_name(t.what, index(t.layer));
      if (is_layer_role(t.what))
        name = name.substr(name.find('.', 4) + 1);
      ++counts[name + " as " + std::string(to_string(t.type)) + " (rows of " +
               std::to_string(t.cols) + ")"];
    }
  std::string text;
  for (const auto& [what, count] : counts)
    text += (text.empty() ? "" : ", ") + what;
  return text;
}

} // namespace coel::model
