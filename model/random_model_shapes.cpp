#include "model/random_model_shapes.hpp"

#include "model/family.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace coel::model {

namespace {

struct shape {
  std::string_view name, family;
  uint32_t layers, hidden, heads, kv_heads, head_dim;
  uint32_t experts, top_k, expert_ff, shared_ff;
  uint32_t vocab, context;
  float rope_base, rms_eps;
};

// From the config.json that each model was published with.
constexpr std::array<shape, 8> shapes{{
    {"qwen1.5-moe-a2.7b", "qwen2moe", 24, 2048, 16, 16, 128, 60, 4, 1408, 5632, 151936, 8192, 1e6f,
     1e-6f},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 32, 4, 128, 128, 8, 768, 0, 151936, 40960, 1e6f, 1e-6f},
    {"olmoe-1b-7b", "olmoe", 16, 2048, 16, 16, 128, 64, 8, 1024, 0, 50304, 4096, 1e4f, 1e-5f},
    {"mixtral-8x7b", "llama", 32, 4096, 32, 8, 128, 8, 2, 14336, 0, 32000, 32768, 1e6f, 1e-5f},
    {"tiny-qwen2moe", "qwen2moe", 4, 256, 4, 2, 64, 16, 4, 256, 512, 1024, 1024, 1e4f, 1e-6f},
    {"tiny-qwen3moe", "qwen3moe", 3, 256, 4, 2, 128, 16, 4, 256, 0, 1024, 1024, 1e6f, 1e-6f},
    {"tiny-olmoe", "olmoe", 3, 256, 4, 4, 64, 16, 4, 256, 0, 1024, 1024, 1e4f, 1e-5f},
    {"tiny-mixtral", "llama", 3, 256, 4, 2, 64, 8, 2, 512, 0, 1024, 1024, 1e6f, 1e-5f},
}};

model_config config_of(const shape& s) {
  const auto& f = *family_of_gguf(s.family);
  model_config c;
  c.family = s.family;
  c.name = s.name;
  c.layers = s.layers;
  c.hidden = s.hidden;
  c.heads = s.heads;
  c.kv_heads = s.kv_heads;
  c.head_dim = s.head_dim;
  c.experts = s.experts;
  c.top_k = s.top_k;
  c.expert_ff = s.expert_ff;
  c.shared_ff = s.shared_ff;
  c.vocab = s.vocab;
  c.context = s.context;
  c.rms_eps = s.rms_eps;
  c.rope = {f.gguf_rope, s.head_dim, s.rope_base, 1.f};
  c.qk = f.qk;
  c.qkv_bias = f.qkv_bias;
  c.renormalise = f.renormalise;
  c.shared_gated = f.shared_expert;
  return c;
}

} // namespace

std::optional<model_config> shape_by_name(std::string_view name) {
  auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  for (const auto& s : shapes)
    if (std::equal(name.begin(), name.end(), s.name.begin(), s.name.end(), same))
      return config_of(s);
  return std::nullopt;
}

std::string known_shapes() {
  std::string all;
  for (const auto& s : shapes)
    all += (all.empty() ? "" : ", ") + std::string(s.name);
  return all;
}

} // namespace coel::model
