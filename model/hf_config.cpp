#include "model/hf_config.hpp"

#include "model/family.hpp"
#include "model/quoted.hpp"

#include <set>

namespace coel::model {

namespace {

using nlohmann::json;

constexpr size_t max_shards = 10000;

/// The keys of config.json; null counts as absent. Remembers the first that was missing or of the
/// wrong kind.
class reader {
 public:
  explicit reader(const json& object) : object_(object) {}

  const json* find(std::string_view key) const {
    auto at = object_.find(std::string(key));
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  uint32_t need(std::string_view key) {
    const auto* v = find(key);
    auto n = v && v->is_number_unsigned() ? v->get<uint64_t>() : UINT64_MAX;
    if (n > UINT32_MAX)
      note(key);
    return n > UINT32_MAX ? 0 : static_cast<uint32_t>(n);
  }
  uint32_t number(std::string_view key, uint32_t otherwise) {
    return find(key) ? need(key) : otherwise;
  }
  float real(std::string_view key, float otherwise) {
    const auto* v = find(key);
    if (v && !v->is_number())
      note(key);
    return v && v->is_number() ? static_cast<float>(v->get<double>()) : otherwise;
  }
  bool flag(std::string_view key, bool otherwise) {
    const auto* v = find(key);
    if (v && !v->is_boolean())
      note(key);
    return v && v->is_boolean() ? v->get<bool>() : otherwise;
  }
  std::string text(std::string_view key, const char* otherwise = "") {
    const auto* v = find(key);
    if (v && !v->is_string())
      note(key);
    return v && v->is_string() ? v->get<std::string>() : otherwise;
  }
  const std::string& missing() const { return missing_; }

 private:
  void note(std::string_view key) {
    if (missing_.empty())
      missing_ = key;
  }
  const json& object_;
  std::string missing_;
};

bool all_full_attention(const json& layer_types) {
  if (!layer_types.is_array())
    return false;
  for (const auto& type : layer_types)
    if (type != "full_attention")
      return false;
  return true;
}

/// What the layer graph does not compute; better refused than answered wrongly.
result<void> refuse_variations(reader& r, const family& f) {
  auto refuse = [](const char* what) { return error{ec::unsupported, what}; };
  if (r.flag("use_sliding_window", false) ||
      (r.find("sliding_window") && !r.find("use_sliding_window")))
    return refuse("sliding-window attention (sliding_window)");
  if (const auto* types = r.find("layer_types"); types && !all_full_attention(*types))
    return refuse("layers other than full attention (layer_types)");
  if (r.number("decoder_sparse_step", 1) != 1)
    return refuse("layers without experts (decoder_sparse_step)");
  if (const auto* dense = r.find("mlp_only_layers"); dense && !dense->empty())
    return refuse("layers without experts (mlp_only_layers)");
  if (r.find("clip_qkv"))
    return refuse("clamped q, k and v (clip_qkv)");
  if (r.flag("attention_bias", false) && !f.qkv_bias)
    return refuse("biases of the attention (attention_bias)");
  if (r.real("partial_rotary_factor", 1.f) != 1.f)
    return refuse("rotation of a part of each head (partial_rotary_factor)");
  if (r.find("quantization_config"))
    return refuse("quantised safetensors (quantization_config): use a GGUF of this model");
  if (auto act = r.text("hidden_act", "silu"); act != "silu")
    return {ec::unsupported, "activation " + in_quotes(act) + " (hidden_act); silu is supported"};
  return {};
}

/// rope_theta and rope_scaling, or both in rope_parameters, as newer files have it.
result<compute::rope_params> rope_of(reader& r, const family& f, uint32_t head_dim) {
  compute::rope_params rope{compute::rope_style::half, head_dim, f.hf_rope_base, 1.f};
  rope.base = r.real("rope_theta", rope.base);
  const json* scaling = r.find("rope_parameters");
  const char* key = scaling ? "rope_parameters" : "rope_scaling";
  if (!scaling)
    scaling = r.find("rope_scaling");
  if (!scaling)
    return rope;
  auto wrong = [&] { return error{ec::bad_file, std::string("key '") + key + "' is malformed"}; };
  if (!scaling->is_object())
    return wrong();
  reader s(*scaling);
  rope.base = s.real("rope_theta", rope.base);
  auto type = s.text("rope_type", s.text("type", "default").c_str());
  if (type != "default" && type != "linear")
    return {ec::unsupported, "rotary scaling " + in_quotes(type) + " (" + key +
                                 "); default and linear are supported"};
  auto factor = type == "linear" ? s.real("factor", 0.f) : 1.f;
  if (!(factor >= 1.f) || !s.missing().empty())
    return wrong();
  rope.scale = 1.f / factor;
  return rope;
}

void read_sizes(reader& r, const family& f, model_config& c) {
  c.layers = r.need("num_hidden_layers");
  c.hidden = r.need("hidden_size");
  c.heads = r.need("num_attention_heads");
  c.kv_heads = r.number("num_key_value_heads", c.heads);
  c.head_dim = r.number("head_dim", c.heads ? c.hidden / c.heads : 0);
  c.experts = r.need(f.hf_experts_key);
  c.top_k = r.need("num_experts_per_tok");
  c.expert_ff = r.need(f.hf_expert_ff_key);
  if (f.shared_expert)
    c.shared_ff = r.need("shared_expert_intermediate_size");
  c.vocab = r.need("vocab_size");
  c.context = r.need("max_position_embeddings");
}

} // namespace

result<model_config> hf_config(const json& config) {
  if (!config.is_object())
    return {ec::bad_file, "not a JSON object"};
  reader r(config);
  auto type = r.text("model_type");
  const auto* f = family_of_hf(type);
  if (!f)
    return {ec::unsupported,
            "model_type " + in_quotes(type) + " is not one of " + known_families()};
  if (auto ok = refuse_variations(r, *f); !ok)
    return ok.err();
  model_config c;
  c.family = f->name;
  read_sizes(r, *f, c);
  c.rms_eps = r.real("rms_norm_eps", f->hf_rms_eps);
  auto rope = rope_of(r, *f, c.head_dim);
  if (!rope)
    return rope.err();
  c.rope = *rope;
  c.qk = f->qk;
  c.qkv_bias = f->qkv_bias && r.flag("qkv_bias", true);
  c.shared_gated = f->shared_expert;
  c.renormalise = r.flag("norm_topk_prob", f->hf_renormalise);
  c.tied_output = r.flag("tie_word_embeddings", false);
  if (!r.missing().empty())
    return {ec::bad_file, "key '" + r.missing() + "' is missing or of the wrong kind"};
  return c;
}

result<std::vector<std::string>> hf_shards(const json& index) {
  auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (map == index.end() || !map->is_object())
    return {ec::bad_file, "key 'weight_map' is missing or of the wrong kind"};
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    auto name = file.is_string() ? file.get<std::string>() : std::string{};
    bool plain = !name.empty() && name != "." && name != ".." &&
                 name.find_first_of(std::string("/\0", 2)) == std::string::npos;
    if (!plain || name.size() > 255 || printable(name, 255) != name)
      return {ec::bad_file,
              "the file of tensor " + in_quotes(tensor) + " is not a plain file name"};
    names.insert(std::move(name));
  }
  if (names.empty() || names.size() > max_shards)
    return {ec::bad_file, "key 'weight_map' names " + std::to_string(names.size()) + " files"};
  return std::vector<std::string>(names.begin(), names.end());
}

} // namespace coel::model
