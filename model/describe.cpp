#include "model/describe.hpp"

#include "model/family.hpp"
#include "model/weights.hpp"

#include <algorithm>
#include <cstdio>

namespace coel::model {

namespace {

std::string size(uint64_t bytes) {
  struct unit {
    double scale;
    const char* format;
  };
  constexpr unit units[] = {
      {1e9, "%.2f GB"}, {1e6, "%.1f MB"}, {1e3, "%.1f kB"}, {1, "%.0f bytes"}};
  const unit* u = units;
  while (u->scale > 1 && static_cast<double>(bytes) < u->scale)
    ++u;
  char text[32];
  std::snprintf(text, sizeof text, u->format, static_cast<double>(bytes) / u->scale);
  return text;
}

std::string verdict(const running_needs& n, uint64_t free_bytes) {
  uint64_t all = n.dense_bytes + n.expert_bytes + n.kv_bytes_full;
  if (all + all / 10 <= free_bytes)
    return "fits this machine's free memory of " + size(free_bytes);
  if (n.dense_bytes + n.expert_bytes <= free_bytes)
    return "the weights fit the free memory of " + size(free_bytes) +
           ", not with a full context: limit it with --kv";
  return "does not fit the free memory of " + size(free_bytes) + ": " +
         size(n.dense_bytes + n.expert_bytes - free_bytes) +
         " too much; use fewer bits (coel quantise)";
}

} // namespace

running_needs needs_of(const source& from) {
  const auto& c = from.config();
  running_needs n;
  for (const auto& key : required_tensors(c)) {
    auto m = from.matrix(key);
    if (!m)
      continue;
    uint64_t bytes = m->bytes(), parameters = m->rows * m->cols;
    bool expert = is_expert_role(key.what);
    bool shared = key.what == role::shared_gate || key.what == role::shared_up ||
                  key.what == role::shared_down;
    (expert || shared ? n.expert_bytes : n.dense_bytes) += bytes;
    if (key.what == role::token_embedding && !c.tied_output)
      continue; // one row a token
    if (!expert || index(key.expert) < c.top_k) {
      n.bytes_per_token += bytes;
      n.active_parameters += parameters;
    }
  }
  for (uint32_t l = 0; l < c.layers; ++l)
    n.one_expert_bytes =
        std::max(n.one_expert_bytes, *expert_file_bytes(from, {static_cast<layer_id>(l), {}}));
  n.kv_bytes_per_token = uint64_t{4} * c.layers * c.kv_heads * c.head_dim;
  n.kv_bytes_full = n.kv_bytes_per_token * c.context;
  return n;
}

std::string describe(const source& from, uint64_t free_bytes) {
  const auto& c = from.config();
  const auto& info = from.info();
  auto n = needs_of(from);
  std::string out = c.name + "\n";
  auto line = [&](const char* what, const std::string& value) {
    char head[24];
    std::snprintf(head, sizeof head, "  %-14s", what);
    out += head + value + "\n";
  };
  auto s = [](uint64_t x) { return std::to_string(x); };
  line("format", info.format + ", " + s(info.files.size()) +
                     (info.files.size() == 1 ? " file, " : " files, ") + size(info.file_bytes));
  line("family", c.family);
  char parameters[64];
  std::snprintf(parameters, sizeof parameters, "%.2f M, %.2f M used per token",
                static_cast<double>(info.parameters) / 1e6,
                static_cast<double>(n.active_parameters) / 1e6);
  line("parameters", parameters);
  line("layers", s(c.layers) + ", hidden size " + s(c.hidden));
  line("attention",
       s(c.heads) + " heads, " + s(c.kv_heads) + " key-value heads, head size " + s(c.head_dim));
  line("experts", s(c.experts) + " a layer, " + s(c.top_k) + " per token, width " + s(c.expert_ff) +
                      (c.shared_ff ? "; shared expert of width " + s(c.shared_ff) : ""));
  line("context", s(c.context) + " tokens; vocabulary " + s(c.vocab));
  std::string types;
  for (const auto& [type, bytes] : info.bytes_by_type)
    types += (types.empty() ? "" : ", ") + std::string(to_string(type)) + " " + size(bytes);
  line("types", types);
  line("chat template", from.vocabulary().chat_template.empty() ? "none" : "yes");
  out += "running it takes\n";
  line("experts", size(n.expert_bytes) + ", one " + size(n.one_expert_bytes));
  line("the rest", size(n.dense_bytes));
  line("reads a token", size(n.bytes_per_token));
  line("KV",
       size(n.kv_bytes_per_token) + " a token, " + size(n.kv_bytes_full) + " at full context");
  if (free_bytes)
    line("verdict", verdict(n, free_bytes));
  return out;
}

nlohmann::json describe_json(const source& from, uint64_t free_bytes) {
  const auto& c = from.config();
  const auto& info = from.info();
  auto n = needs_of(from);
  nlohmann::json j{{"name", c.name},
                   {"format", info.format},
                   {"family", c.family},
                   {"file_bytes", info.file_bytes},
                   {"parameters", info.parameters},
                   {"active_parameters", n.active_parameters},
                   {"layers", c.layers},
                   {"hidden", c.hidden},
                   {"heads", c.heads},
                   {"kv_heads", c.kv_heads},
                   {"head_dim", c.head_dim},
                   {"experts", c.experts},
                   {"top_k", c.top_k},
                   {"expert_ff", c.expert_ff},
                   {"shared_ff", c.shared_ff},
                   {"context", c.context},
                   {"vocab", c.vocab},
                   {"dense_bytes", n.dense_bytes},
                   {"expert_bytes", n.expert_bytes},
                   {"one_expert_bytes", n.one_expert_bytes},
                   {"bytes_per_token", n.bytes_per_token},
                   {"kv_bytes_per_token", n.kv_bytes_per_token},
                   {"kv_bytes_full", n.kv_bytes_full}};
  for (const auto& [type, bytes] : info.bytes_by_type)
    j["types"][std::string(to_string(type))] = bytes;
  if (free_bytes)
    j["verdict"] = verdict(n, free_bytes);
  return j;
}

} // namespace coel::model
