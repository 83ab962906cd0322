// A GGUF file before it is written: every field can be changed to nonsense.
#pragma once

#include "tests/model/model_files.hpp"

#include <algorithm>
#include <optional>

namespace coel::test {

/// Kinds of metadata as the format numbers them.
namespace gguf_kind {
constexpr uint32_t u8 = 0, u32 = 4, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10;
}

inline std::string gguf_number(uint32_t value) {
  return raw(gguf_kind::u32) + raw(value);
}
inline std::string gguf_real(float value) {
  return raw(gguf_kind::f32) + raw(value);
}
inline std::string gguf_text(std::string_view value) {
  return raw(gguf_kind::string) + raw_text(value);
}
inline std::string gguf_texts(const std::vector<std::string>& values) {
  auto out = raw(gguf_kind::array) + raw(gguf_kind::string) + raw<uint64_t>(values.size());
  for (const auto& v : values)
    out += raw_text(v);
  return out;
}

struct gguf_draft {
  struct pair {
    std::string key, value; ///< the value with its kind, encoded
  };
  struct tensor {
    std::string name;
    std::vector<uint64_t> shape;
    uint32_t type = 0; ///< F32
    uint64_t offset = 0;
  };
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<pair> metadata;
  std::vector<tensor> tensors;
  std::optional<uint64_t> tensor_count, pair_count;
  uint64_t data_bytes = 0;

  std::string* value(std::string_view key) {
    for (auto& p : metadata)
      if (p.key == key)
        return &p.value;
    return nullptr;
  }
  void set(const std::string& key, const std::string& encoded) {
    if (auto* v = value(key))
      *v = encoded;
    else
      metadata.push_back({key, encoded});
  }
  tensor& find(std::string_view name) {
    auto at = std::find_if(tensors.begin(), tensors.end(),
                           [&](const tensor& t) { return t.name == name; });
    BOOST_REQUIRE(at != tensors.end());
    return *at;
  }
  /// An F32 tensor after those before it.
  void add(const std::string& name, const std::vector<uint64_t>& shape) {
    tensors.push_back({name, shape, 0, data_bytes});
    uint64_t size = 4;
    for (auto n : shape)
      size *= n;
    data_bytes += (size + 31) / 32 * 32;
  }
  std::string header() const {
    auto out = magic + raw(version) + raw<uint64_t>(tensor_count.value_or(tensors.size())) +
               raw<uint64_t>(pair_count.value_or(metadata.size()));
    for (const auto& p : metadata)
      out += raw_text(p.key) + p.value;
    for (const auto& t : tensors) {
      out += raw_text(t.name) + raw<uint32_t>(static_cast<uint32_t>(t.shape.size()));
      for (auto n : t.shape)
        out += raw(n);
      out += raw(t.type) + raw(t.offset);
    }
    return out;
  }
  std::string bytes() const {
    auto out = header();
    out.resize((out.size() + 31) / 32 * 32);
    for (uint64_t i = 0; i < data_bytes / 4; ++i)
      out += raw(static_cast<float>(i % 251) / 251.f);
    return out;
  }
};

/// The smallest model that opens: one layer, two experts.
inline gguf_draft small_gguf() {
  gguf_draft d;
  const std::string a = "llama.";
  d.set("general.architecture", gguf_text("llama"));
  for (auto [key, n] : {std::pair{"block_count", 1u},
                        {"embedding_length", 8u},
                        {"context_length", 64u},
                        {"attention.head_count", 2u},
                        {"attention.head_count_kv", 1u},
                        {"expert_count", 2u},
                        {"expert_used_count", 1u},
                        {"expert_feed_forward_length", 8u}})
    d.set(a + key, gguf_number(n));
  d.set(a + "attention.layer_norm_rms_epsilon", gguf_real(1e-5f));
  d.set("tokenizer.ggml.model", gguf_text("gpt2"));
  d.set("tokenizer.ggml.pre", gguf_text("qwen2"));
  d.set("tokenizer.ggml.tokens", gguf_texts({"a", "b", "ab"}));
  d.set("tokenizer.ggml.merges", gguf_texts({"a b"}));
  d.set("tokenizer.ggml.unknown_token_id", gguf_number(0));
  d.add("token_embd.weight", {8, 3});
  d.add("output_norm.weight", {8});
  for (const char* norm : {"attn_norm", "ffn_norm"})
    d.add("blk.0." + std::string(norm) + ".weight", {8});
  for (auto [name, rows] :
       {std::pair{"attn_q", 8u}, {"attn_k", 4u}, {"attn_v", 4u}, {"attn_output", 8u}})
    d.add("blk.0." + std::string(name) + ".weight", {8, rows});
  d.add("blk.0.ffn_gate_inp.weight", {8, 2});
  for (const char* part : {"gate", "up", "down"})
    d.add("blk.0.ffn_" + std::string(part) + "_exps.weight", {8, 8, 2});
  return d;
}

} // namespace coel::test
