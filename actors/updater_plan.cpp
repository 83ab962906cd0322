#include "actors/updater_plan.hpp"

#include "policy/expert_moves.hpp"
#include "policy/expert_room.hpp"
#include "policy/popularity.hpp"

#include <algorithm>

namespace coel::actors {

void adopt_models(updater_state& st) {
  for (auto all = st.config.models->all(); const auto& hosted : *all)
    if (!st.models.contains(hosted.model->name))
      st.models.emplace(hosted.model->name, place_model(hosted));
}

void measure_room(updater_state& st) {
  uint64_t fixed = st.ram.kv_bytes + st.ram.buffer_bytes;
  std::vector<policy::room_demand> demands;
  for (const auto& [name, m] : st.models) {
    fixed += m.hosted.model->dense.bytes;
    demands.push_back({m.expert_bytes, m.items()});
  }
  auto rooms =
      policy::share_room(st.config.ram_bytes - std::min(fixed, st.config.ram_bytes), demands);
  size_t next = 0;
  for (auto& [name, m] : st.models) {
    m.space = rooms[next].space;
    m.room = rooms[next++].room;
  }
}

void make_plan(updater_state& st, placed_model& m) {
  std::vector<policy::holder> holders{{st.config.key, st.draining ? 0 : m.room}};
  auto here = quantised_use(m);
  std::vector<const std::vector<uint8_t>*> used{&here};
  for (const auto& who : *st.members)
    if (const auto* r = record_of(who, m)) {
      bool takes = !who.record->draining && r->expert_bytes;
      holders.push_back({who.key, takes ? r->capacity_bytes / r->expert_bytes : 0});
      used.push_back(&r->popularity);
    }
  const auto& model = *m.hosted.model;
  auto common = policy::combine_popularity(used, m.items());
  if (holders == m.holders && common == m.common)
    return;
  m.common = std::move(common);
  m.holders = holders;
  auto made = policy::assign({model.config().layers, model.experts_per_layer, m.holders, m.common});
  m.plan = std::move(made.plan.front());
  m.plans.clear();
  for (size_t h = 1; h < m.holders.size(); ++h)
    m.plans[m.holders[h].key] = std::move(made.plan[h]);
}

void make_room(const updater_state& st, placed_model& m, size_t coming) {
  bitmap retiring(m.items());
  for (const auto& [item, since] : m.retiring)
    retiring.set(item);
  auto gone = policy::to_retire({m.holds, m.plan, retiring, m.common, m.room, coming},
                                [&](size_t i) { return kept_by_others(*st.members, m, i); });
  for (size_t i : gone)
    m.retiring.emplace(i, steady::now());
}

std::vector<size_t> in_order_of_need(const updater_state& st, const placed_model& m) {
  const auto& presence = *m.hosted.model->presence;
  return policy::in_order_of_need(
      wanted(m), m.common, [&](size_t i) { return presence.present(m.key_of(i)); },
      [&](size_t i) { return held_by_others(*st.members, m, i); });
}

} // namespace coel::actors
