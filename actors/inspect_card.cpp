#include "actors/inspect_card.hpp"

#include <nlohmann/json.hpp>

namespace coel::actors {

namespace {

double per_second(uint64_t amount, uint64_t us) {
  return us ? static_cast<double>(amount) * 1e6 / static_cast<double>(us) : 0;
}

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

double seconds(uint64_t us) {
  return static_cast<double>(us) / 1e6;
}

} // namespace

std::optional<card_facts> card_facts_of(const std::vector<served_model_ptr>& models) {
  std::optional<card_facts> card;
  for (const auto& m : models) {
    if (!m->near)
      continue;
    if (!card) {
      auto own = m->device->status().own_memory;
      if (!own)
        continue;
      card = card_facts{*own, {}};
    }
    const auto& near = *m->near;
    card->models.push_back({m->name, near.slots(), near.sum(), near.brought, near.given_up,
                            near.refused, near.whole_steps});
  }
  return card;
}

nlohmann::json card_json(const card_facts& card, double uptime_s) {
  const auto& d = card.device;
  auto models = nlohmann::json::array();
  for (const auto& m : card.models)
    models.push_back(
        {{"model", m.model},
         {"here", m.now.experts},
         {"experts", m.of},
         {"bytes", m.now.bytes},
         {"hit_rate", share(static_cast<double>(m.now.rows_near), static_cast<double>(m.now.rows))},
         {"brought", m.brought},
         {"given_up", m.given_up},
         {"refused", m.refused},
         {"whole_steps", m.whole_steps}});
  return {{"name", d.name},
          {"lost", d.lost},
          {"budget_bytes", d.budget_bytes},
          {"used_bytes", d.used_bytes},
          {"busy_share", share(seconds(d.busy_us), uptime_s)},
          {"bus_share", share(seconds(d.bus_us), uptime_s)},
          {"loaded_bytes", d.loaded_bytes},
          {"load_bytes_per_s", per_second(d.loaded_bytes, d.load_us)},
          {"bus_bytes_per_s", per_second(d.loaded_bytes, d.bus_us)},
          {"split_lists", d.split_lists},
          {"beside_us", d.beside_us},
          {"beside_experts", d.beside_experts},
          {"moved_bytes", d.moved_bytes},
          {"copied_experts", d.copied_experts},
          {"models", models}};
}

std::vector<card_metric> card_metrics(const card_facts& card) {
  const auto& d = card.device;
  auto number = [](uint64_t n) { return static_cast<double>(n); };
  std::vector<card_metric> all{
      {"coel_card_budget_bytes", "gauge", "Budget of the card's memory.", "",
       number(d.budget_bytes)},
      {"coel_card_used_bytes", "gauge", "Of it, in use.", "", number(d.used_bytes)},
      {"coel_card_lost", "gauge", "1 if the card is lost.", "", d.lost ? 1. : 0.},
      {"coel_card_busy_seconds_total", "counter", "The card computed.", "", seconds(d.busy_us)},
      {"coel_card_bus_seconds_total", "counter", "Weights were on their way to the card.", "",
       seconds(d.bus_us)},
      {"coel_card_load_seconds_total", "counter", "Weights were packed and brought to the card.",
       "", seconds(d.load_us)},
      {"coel_card_loaded_bytes_total", "counter", "Weights brought to the card.", "",
       number(d.loaded_bytes)},
      {"coel_card_split_lists_total", "counter", "Steps of which a part ran beside the card.", "",
       number(d.split_lists)},
      {"coel_card_beside_seconds_total", "counter", "Experts ran beside the card.", "",
       seconds(d.beside_us)},
      {"coel_card_moved_bytes_total", "counter", "Rows for experts beside the card, and sums.", "",
       number(d.moved_bytes)},
      {"coel_card_copied_experts_total", "counter", "Experts brought to the card for one step.", "",
       number(d.copied_experts)}};
  auto each = [&](const char* name, const char* kind, const char* help, auto value) {
    for (const auto& m : card.models)
      all.push_back({name, kind, help, m.model, number(value(m))});
  };
  each("coel_card_experts", "gauge", "Routed experts on the card.",
       [](const near_facts& m) { return m.now.experts; });
  each("coel_card_expert_bytes", "gauge", "Bytes of these.",
       [](const near_facts& m) { return m.now.bytes; });
  each("coel_card_rows_total", "counter", "Rows that chose an expert of this node.",
       [](const near_facts& m) { return m.now.rows; });
  each("coel_card_near_rows_total", "counter", "Of these, rows whose expert was on the card.",
       [](const near_facts& m) { return m.now.rows_near; });
  each("coel_card_brought_total", "counter", "Experts brought to the card.",
       [](const near_facts& m) { return m.brought; });
  each("coel_card_given_up_total", "counter", "Experts sent back from the card.",
       [](const near_facts& m) { return m.given_up; });
  each("coel_card_whole_steps_total", "counter", "Steps that ran as one list.",
       [](const near_facts& m) { return m.whole_steps; });
  return all;
}

} // namespace coel::actors
