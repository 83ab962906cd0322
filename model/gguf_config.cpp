#include "model/gguf_config.hpp"

#include "model/family.hpp"
#include "model/quoted.hpp"

#include <algorithm>

namespace coel::model {

namespace {

/// Metadata under the architecture's prefix; remembers the first key that was missing or malformed.
class reader {
 public:
  reader(const gguf_file& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  bool has(std::string_view key) const { return file_.find(path(key)) != nullptr; }

  uint32_t need(std::string_view key) {
    auto v = file_.number(path(key));
    if (!v || *v > UINT32_MAX)
      note(key);
    return v ? static_cast<uint32_t>(*v) : 0;
  }
  uint32_t number(std::string_view key, uint32_t otherwise) {
    return has(key) ? need(key) : otherwise;
  }
  float need_real(std::string_view key) {
    auto v = file_.real(path(key));
    if (!v)
      note(key);
    return static_cast<float>(v.value_or(0));
  }
  float real(std::string_view key, float otherwise) {
    return has(key) ? need_real(key) : otherwise;
  }
  bool flag(std::string_view key, bool otherwise) {
    auto v = file_.flag(path(key));
    if (!v && has(key))
      note(key);
    return v.value_or(otherwise);
  }
  /// Empty if absent.
  std::string text(std::string_view key) {
    const auto* v = file_.text(path(key));
    if (!v && has(key))
      note(key);
    return v ? *v : std::string{};
  }
  /// A number of any kind; nullopt if absent or none.
  std::optional<double> any(std::string_view key) const {
    if (auto n = file_.number(path(key)))
      return static_cast<double>(*n);
    return file_.real(path(key));
  }
  const std::string& missing() const { return missing_; }

 private:
  std::string path(std::string_view key) const { return prefix_ + std::string(key); }
  void note(std::string_view key) {
    if (missing_.empty())
      missing_ = path(key);
  }
  const gguf_file& file_;
  std::string prefix_;
  std::string missing_;
};

/// Variations that these families do not have and the layer graph does not compute.
struct variation {
  std::string_view key;
  double harmless; ///< besides 0 and absence
  const char* what;
};
constexpr variation variations[]{
    {"attention.sliding_window", 0, "sliding-window attention"},
    {"attention.clamp_kqv", 0, "clamped q, k and v"},
    {"attention.max_alibi_bias", 0, "ALiBi"},
    {"attention.scale", 0, "a scale of attention of its own"},
    {"attn_logit_softcapping", 0, "soft-capped attention"},
    {"final_logit_softcapping", 0, "soft-capped logits"},
    {"logit_scale", 1, "scaled logits"},
    {"residual_scale", 1, "scaled residuals"},
    {"embedding_scale", 1, "scaled embeddings"},
    {"leading_dense_block_count", 0, "layers without experts"},
    {"interleave_moe_layer_step", 1, "layers without experts"},
    {"moe_every_n_layers", 1, "layers without experts"},
    {"expert_group_count", 1, "groups of experts"},
    {"expert_gating_func", 1, "routing other than by softmax"},
    {"expert_weights_scale", 1, "scaled weights of experts"},
};

result<void> refuse_variations(const reader& r) {
  for (const auto& v : variations) {
    if (!r.has(v.key))
      continue;
    auto value = r.any(v.key);
    if (!value || (*value != 0 && *value != v.harmless))
      return {ec::unsupported, std::string(v.what) + " (" + std::string(v.key) + ")"};
  }
  return {};
}

/// Scaling is linear unless a type is named; files from before the types have rope.scale_linear.
result<compute::rope_params> rope_of(reader& r, const family& f, uint32_t head_dim) {
  compute::rope_params rope{f.gguf_rope, r.number("rope.dimension_count", head_dim),
                            r.real("rope.freq_base", 10000.f), 1.f};
  auto scaling = r.text("rope.scaling.type");
  if (!scaling.empty() && scaling != "none" && scaling != "linear")
    return {ec::unsupported, "rotary scaling " + in_quotes(scaling) +
                                 " (rope.scaling.type); none and linear are supported"};
  auto factor = r.real("rope.scaling.factor", r.real("rope.scale_linear", 0.f));
  if (scaling != "none" && factor != 0.f)
    rope.scale = 1.f / factor;
  return rope;
}

void read_experts(reader& r, const family& f, model_config& c) {
  c.top_k = r.need("expert_used_count");
  c.expert_ff = r.number("expert_feed_forward_length", 0);
  if (c.expert_ff == 0)
    c.expert_ff = r.need("feed_forward_length") / (f.ff_of_all_chosen ? std::max(c.top_k, 1u) : 1);
  if (f.shared_expert)
    c.shared_ff = r.number("expert_shared_feed_forward_length", 0);
  if (f.shared_expert && c.shared_ff == 0)
    c.shared_ff = r.need("feed_forward_length");
  c.shared_gated = f.shared_expert;
  c.renormalise = r.flag("expert_weights_norm", f.renormalise);
}

void read_attention(reader& r, const family& f, model_config& c) {
  c.heads = r.need("attention.head_count");
  c.kv_heads = r.number("attention.head_count_kv", c.heads);
  c.head_dim = r.number("attention.key_length", c.heads ? c.hidden / c.heads : 0);
  c.rms_eps = r.need_real("attention.layer_norm_rms_epsilon");
  c.qk = f.qk;
  c.qkv_bias = f.qkv_bias;
}

/// What the embedding's shape says.
result<void> read_vocabulary_size(const gguf_file& file, model_config& c) {
  const auto* embedding = file.tensor(gguf_tensor_name(role::token_embedding, 0));
  if (!embedding || embedding->data.rows > UINT32_MAX)
    return {ec::bad_file, "tensor 'token_embd.weight' is missing or out of range"};
  c.vocab = static_cast<uint32_t>(embedding->data.rows);
  c.tied_output = file.tensor(gguf_tensor_name(role::output, 0)) == nullptr;
  return {};
}

} // namespace

result<model_config> gguf_config(const gguf_file& file) {
  const auto* architecture = file.text("general.architecture");
  if (!architecture)
    return {ec::bad_file, "metadata key 'general.architecture' is missing"};
  const auto* f = family_of_gguf(*architecture);
  if (!f)
    return {ec::unsupported,
            "architecture " + in_quotes(*architecture) + " is not one of " + known_families()};
  reader r(file, *architecture + ".");
  model_config c;
  c.family = *architecture;
  c.experts = r.number("expert_count", 0);
  if (c.experts == 0 && r.missing().empty())
    return {ec::unsupported,
            "a " + c.family + " model without experts: CoEL runs Mixture-of-Experts models"};
  c.layers = r.need("block_count");
  c.hidden = r.need("embedding_length");
  c.context = r.need("context_length");
  read_attention(r, *f, c);
  read_experts(r, *f, c);
  if (auto ok = refuse_variations(r); !ok)
    return ok.err();
  if (r.number("attention.value_length", c.head_dim) != c.head_dim)
    return {ec::unsupported, "value heads of another size than key heads"};
  auto rope = rope_of(r, *f, c.head_dim);
  if (!rope)
    return rope.err();
  c.rope = *rope;
  if (!r.missing().empty())
    return {ec::bad_file, "metadata key '" + r.missing() + "' is missing or of the wrong kind"};
  if (auto ok = read_vocabulary_size(file, c); !ok)
    return ok.err();
  return c;
}

} // namespace coel::model
