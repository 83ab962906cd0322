#include "apps/coel/forecast_card.hpp"

#include "model/card_needs.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>

namespace coel::app {

namespace {

std::string gb(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

std::string row(const char* what, uint64_t bytes, const std::string& note) {
  char text[192];
  std::snprintf(text, sizeof text, "  %-16s %10s  %s\n", what, gb(bytes).c_str(), note.c_str());
  return text;
}

std::string of_all(uint64_t experts, uint64_t all) {
  return std::to_string(experts) + " of " + std::to_string(all);
}

/// Everything but routed experts lies on the card.
memory_needs beside_card(memory_needs n) {
  n.dense_bytes = n.shared_bytes = n.kv_page_bytes = n.step_bytes = 0;
  return n;
}

} // namespace

result<card_forecast> card_forecast_of(const model::source& from, uint64_t card_bytes,
                                       uint64_t memory_bytes) {
  model::serving_shape shape;
  auto needs = model::card_needs_of(from, shape);
  if (!needs)
    return needs.err();
  auto card = policy::plan_card(*needs, card_bytes);
  if (!card)
    return card.err();
  auto memory = policy::plan_memory(beside_card(needs->of), memory_bytes);
  if (!memory)
    return memory.err();
  card_forecast f;
  f.card_budget_bytes = card_bytes;
  f.memory_budget_bytes = memory_bytes;
  f.card = *card;
  f.memory = *memory;
  f.tokens_of_page = shape.page_tokens;
  f.experts = uint64_t{needs->of.layers} * needs->of.experts;
  uint64_t left = f.experts - f.card.experts, one = std::max<uint64_t>(needs->of.expert_bytes, 1);
  f.in_memory = f.memory.all_fit ? left : std::min(left, f.memory.cache_bytes / one);
  f.in_memory_bytes = f.in_memory * one;
  f.on_disk = left - f.in_memory;
  return f;
}

std::string text_of(const card_forecast& f) {
  const auto& c = f.card;
  std::string t = "on a card of " + gb(f.card_budget_bytes) + ":\n";
  t += row("every token uses", c.pinned_bytes, "embedding, attention, gates, shared experts");
  t += row("KV", c.kv_bytes, std::to_string(uint64_t{c.kv_pages} * f.tokens_of_page) + " tokens");
  t += row("steps", c.step_bytes + c.copies_bytes,
           c.copies_bytes ? "buffers, and room for experts copied over" : "buffers");
  t += row("experts", c.expert_bytes, of_all(c.experts, f.experts));
  if (c.experts == f.experts)
    return t + "all experts are on the card; how fast it is, coel-bench --device gpu measures\n";
  t += "in memory of " + gb(f.memory_budget_bytes) + ":\n";
  t += row("experts", f.in_memory_bytes, of_all(f.in_memory, f.experts) + ", which the CPU runs");
  if (f.on_disk)
    t += "  on disk, read when they are needed: " + of_all(f.on_disk, f.experts) + "\n";
  return t + "how fast that is, coel-bench --device gpu measures\n";
}

nlohmann::json as_json(const card_forecast& f) {
  return {{"card_budget_bytes", f.card_budget_bytes},
          {"memory_budget_bytes", f.memory_budget_bytes},
          {"pinned_bytes", f.card.pinned_bytes},
          {"kv_bytes", f.card.kv_bytes},
          {"kv_tokens", uint64_t{f.card.kv_pages} * f.tokens_of_page},
          {"step_bytes", f.card.step_bytes},
          {"copies_bytes", f.card.copies_bytes},
          {"card_expert_bytes", f.card.expert_bytes},
          {"experts", f.experts},
          {"experts_on_card", f.card.experts},
          {"experts_in_memory", f.in_memory},
          {"experts_on_disk", f.on_disk}};
}

} // namespace coel::app
