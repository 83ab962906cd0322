#include "actors/updater_words.hpp"

#include "actors/planning_facts.hpp"
#include "actors/updater_planning.hpp"
#include "actors/updater_pool.hpp"

#include <algorithm>
#include <cmath>

namespace coel::actors {

namespace {

/// Rough, so that the record changes seldom.
double power_of_two(double x) {
  return x < 0.1 ? 0 : std::exp2(std::round(std::log2(x)));
}

model_record record_here(const updater_state& st, const placed_model& m) {
  const auto& model = *m.hosted.model;
  auto r = st.config.files(model);
  r.name = model.name;
  r.hash = model.hash;
  r.layers = model.config().layers;
  r.experts_per_layer = model.experts_per_layer;
  r.expert_bytes = m.expert_bytes;
  r.capacity_bytes = m.room * m.expert_bytes;
  r.home = m.hosted.scheduler && !st.draining;
  r.reads = can_read(m) && !st.draining;
  auto speed = model.costs->speed(this_node);
  constexpr double most_us = 1e9;
  r.speed = {std::round(std::min(speed.expert_us, most_us)),
             std::round(std::min(speed.row_us, most_us))};
  r.holds = announced(m);
  r.popularity = quantised_use(m);
  r.dense = model.costs->dense(this_node, model.config().vocab);
  r.tokens_per_s = power_of_two(m.tokens_per_s);
  r.sessions = power_of_two(m.sessions);
  r.plan = m.planner.followed;
  return r;
}

node_placement placed_here(const updater_state& st, const placed_model& m) {
  bool home = m.hosted.scheduler != nullptr;
  return {this_node, st.config.name, true,   st.config.files(*m.hosted.model).complete,
          home,      st.draining,    m.room, m.holds,
          !home};
}

node_placement placed_there(const member& who, const placed_model& m) {
  node_placement out{who.id, who.name, who.up, false, false, false, 0, bitmap(m.items())};
  if (const auto* r = record_of(who, m)) {
    out.complete = r->complete;
    out.home = r->home;
    out.draining = who.record->draining;
    out.helper = !r->home && !who.record->draining; // who drains says of nothing that it is home
    out.room = r->expert_bytes ? r->capacity_bytes / r->expert_bytes : 0;
    out.holds = r->holds;
  }
  return out;
}

} // namespace

node_record record_now(const updater_state& st) {
  node_record now;
  now.name = st.config.name;
  now.app_endpoints = st.config.app_endpoints;
  now.draining = st.draining;
  now.ram_bytes = st.config.ram_bytes + st.card.budget_bytes;
  now.ram_used_bytes = st.ram.used_bytes + st.card.used_bytes;
  now.expert_memory_bytes = st.expert_memory;
  for (const auto& [name, m] : st.models)
    now.models.push_back(record_here(st, m));
  now.neighbours = measured_links(st);
  now.version = st.told.version + 1;
  return now;
}

policy::node_load load_now(const updater_state& st, double device_busy) {
  std::vector<policy::memory_room> rooms;
  for (const auto& [name, m] : st.models)
    rooms.push_back({(m.room - std::min<uint64_t>(m.room, m.holds.count())) * m.expert_bytes,
                     m.room * m.expert_bytes});
  return policy::measure_load(std::clamp(device_busy, 0.0, 1.0), rooms);
}

placement_status placement_now(const updater_state& st, const placed_model& m) {
  const auto& model = *m.hosted.model;
  placement_status out{model.name,
                       model.config().layers,
                       model.experts_per_layer,
                       m.epoch,
                       static_cast<uint32_t>(uncovered(m)),
                       0,
                       0,
                       static_cast<uint32_t>(m.loading.size()),
                       static_cast<uint32_t>(wanted(m).size()),
                       {placed_here(st, m)},
                       planning_now(st, m)};
  for (size_t i = 0; i < m.items(); ++i)
    out.left += left_to_disks(m, i);
  out.pool_bytes = m.pool.there;
  for (const auto& who : *st.members)
    out.nodes.push_back(placed_there(who, m));
  return out;
}

} // namespace coel::actors
