#include "model/gguf_model.hpp"

#include "model/table_source.hpp"

#include <algorithm>

namespace coel::model {

namespace {

/// Metadata under the architecture's prefix; remembers the first key that was missing or malformed.
class reader {
 public:
  reader(const gguf_file& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  uint32_t need(const char* key) {
    auto v = file_.number(prefix_ + key);
    if (!v || *v > UINT32_MAX) {
      note(key);
      return 0;
    }
    return static_cast<uint32_t>(*v);
  }
  uint32_t number(const char* key, uint32_t otherwise) {
    return file_.find(prefix_ + key) ? need(key) : otherwise;
  }
  float real(const char* key, float otherwise) {
    if (!file_.find(prefix_ + key))
      return otherwise;
    auto v = file_.real(prefix_ + key);
    if (!v)
      note(key);
    return static_cast<float>(v.value_or(0));
  }
  float need_real(const char* key) {
    if (!file_.find(prefix_ + key))
      note(key);
    return real(key, 0);
  }
  bool flag(const char* key, bool otherwise) { return file_.flag(prefix_ + key).value_or(otherwise); }
  const std::string* text(const char* key) { return file_.text(prefix_ + key); }
  const std::string& missing() const { return missing_; }

 private:
  void note(const char* key) {
    if (missing_.empty())
      missing_ = prefix_ + key;
  }
  const gguf_file& file_;
  std::string prefix_;
  std::string missing_;
};

result<compute::rope_params> rope_of(reader& r, const family& f, uint32_t head_dim) {
  compute::rope_params rope{f.gguf_rope, r.number("rope.dimension_count", head_dim),
                            r.real("rope.freq_base", 10000.f), 1.f};
  const auto* scaling = r.text("rope.scaling.type");
  if (scaling && *scaling != "none" && *scaling != "linear")
    return {ec::unsupported, "rotary scaling '" + *scaling + "' is not supported (none and linear are)"};
  if (scaling && *scaling == "linear")
    rope.scale = 1.f / r.need_real("rope.scaling.factor");
  return rope;
}

result<model_config> config_of(const gguf_file& file) {
  const auto* architecture = file.text("general.architecture");
  if (!architecture)
    return {ec::bad_file, "general.architecture is missing"};
  const auto* f = family_of_gguf(*architecture);
  if (!f)
    return {ec::unsupported, "architecture '" + *architecture + "' is not one of " + known_families()};
  reader r(file, *architecture + ".");
  model_config c;
  c.family = *architecture;
  c.layers = r.need("block_count");
  c.hidden = r.need("embedding_length");
  c.heads = r.need("attention.head_count");
  c.kv_heads = r.number("attention.head_count_kv", c.heads);
  c.head_dim = r.number("attention.key_length", c.heads ? c.hidden / c.heads : 0);
  c.experts = r.number("expert_count", 0);
  if (c.experts == 0)
    return {ec::unsupported, "a dense " + c.family + " model: CoEL runs Mixture-of-Experts models"};
  c.top_k = r.need("expert_used_count");
  c.expert_ff = r.number("expert_feed_forward_length", 0);
  if (c.expert_ff == 0)
    c.expert_ff = r.need("feed_forward_length");
  if (f->shared_expert)
    c.shared_ff = r.need("expert_shared_feed_forward_length");
  c.context = r.need("context_length");
  c.rms_eps = r.need_real("attention.layer_norm_rms_epsilon");
  c.qk = f->qk;
  c.qkv_bias = f->qkv_bias;
  c.shared_gated = f->shared_expert;
  c.renormalise = r.flag("expert_weights_norm", f->renormalise);
  if (r.number("attention.value_length", c.head_dim) != c.head_dim)
    return {ec::unsupported, "value heads of another size than key heads"};
  if (r.number("attention.sliding_window", 0) != 0)
    return {ec::unsupported, "sliding-window attention"};
  auto rope = rope_of(r, *f, c.head_dim);
  if (!rope)
    return rope.err();
  c.rope = *rope;
  if (!r.missing().empty())
    return {ec::bad_file, "metadata key '" + r.missing() + "' is missing or of the wrong kind"};
  if (file.tensor("rope_freqs.weight"))
    return {ec::unsupported, "per-frequency rotary factors (rope_freqs.weight)"};
  const auto* embedding = file.tensor("token_embd.weight");
  if (!embedding || embedding->data.rows > UINT32_MAX)
    return {ec::bad_file, "tensor token_embd.weight is missing or out of range"};
  c.vocab = static_cast<uint32_t>(embedding->data.rows);
  c.tied_output = file.tensor("output.weight") == nullptr;
  return c;
}

table_source::locate locator(const gguf_file& file, const model_config& c, const std::string& path) {
  return [&file, &c, path](const tensor_key& key) -> result<compute::matrix_view> {
    auto name = gguf_tensor_name(key.what, index(key.layer));
    const auto* t = file.tensor(name);
    if (!t)
      return {ec::bad_file, path + ": tensor '" + name + "' is missing"};
    if (!is_expert_role(key.what))
      return t->data;
    auto rows = required_shape(c, key.what)->rows;
    if (t->data.rows != rows * c.experts)
      return {ec::bad_file, path + ": tensor '" + name + "' does not hold " +
                                std::to_string(c.experts) + " experts of " + std::to_string(rows) +
                                " rows"};
    return t->data.row_slice(rows * index(key.expert), rows);
  };
}

std::optional<int32_t> token_id(const gguf_file& file, const char* key) {
  auto v = file.number(std::string("tokenizer.ggml.") + key);
  return v && *v <= INT32_MAX ? std::optional(static_cast<int32_t>(*v)) : std::nullopt;
}

} // namespace

result<tokenizer_data> gguf_vocabulary(const gguf_file& file) {
  tokenizer_data d;
  const auto* model = file.text("tokenizer.ggml.model");
  if (!model || (*model != "gpt2" && *model != "llama"))
    return {ec::unsupported, "tokenizer '" + (model ? *model : std::string("(none)")) +
                                 "' is not one of gpt2 and llama"};
  d.kind = *model == "gpt2" ? tokenizer_data::algorithm::bpe : tokenizer_data::algorithm::spm;
  if (const auto* pre = file.text("tokenizer.ggml.pre"))
    d.pre = *pre;
  auto list = [&]<class T>(const char* key, T&& into) {
    if (const auto* v = file.find(std::string("tokenizer.ggml.") + key))
      if (const auto* items = std::get_if<std::remove_cvref_t<T>>(v))
        into = *items;
  };
  std::vector<double> scores;
  std::vector<int64_t> types;
  list("tokens", d.tokens);
  list("merges", d.merges);
  list("scores", scores);
  list("token_type", types);
  if (d.tokens.empty())
    return {ec::bad_file, "tokenizer.ggml.tokens is missing"};
  for (auto x : scores)
    d.scores.push_back(static_cast<float>(x));
  for (auto x : types)
    d.types.push_back(x >= 1 && x <= 6 ? static_cast<token_type>(x) : token_type::normal);
  d.bos = token_id(file, "bos_token_id");
  d.eos = token_id(file, "eos_token_id");
  d.eot = token_id(file, "eot_token_id");
  d.unk = token_id(file, "unknown_token_id");
  d.pad = token_id(file, "padding_token_id");
  d.add_bos = file.flag("tokenizer.ggml.add_bos_token").value_or(d.kind == tokenizer_data::algorithm::spm);
  d.add_eos = file.flag("tokenizer.ggml.add_eos_token").value_or(false);
  d.add_space_prefix = file.flag("tokenizer.ggml.add_space_prefix").value_or(true);
  if (const auto* chat = file.text("tokenizer.chat_template"))
    d.chat_template = *chat;
  return d;
}

result<source_ptr> open_gguf(const std::filesystem::path& path) {
  auto file = gguf_file::open(path);
  if (!file)
    return file.err();
  auto named = [&](const error& e) { return error{e.code, path.string() + ": " + e.message}; };
  auto config = config_of(*file);
  if (!config)
    return named(config.err());
  const auto* title = file->text("general.name");
  config->name = title && !title->empty() ? *title : path.stem().string();
  auto vocabulary = gguf_vocabulary(*file);
  if (!vocabulary)
    return named(vocabulary.err());
  source_info about;
  about.format = "GGUF v" + std::to_string(file->version());
  for (const auto& part : file->files())
    about.files.push_back(part->path());
  return table_source::make(*config, std::move(*vocabulary), std::move(about), file->files(),
                            locator(*file, *config, path.string()));
}

} // namespace coel::model
