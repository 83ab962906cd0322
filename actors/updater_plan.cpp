#include "actors/updater_plan.hpp"

#include "actors/near_memory.hpp"
#include "actors/updater_pool.hpp"
#include "policy/expert_moves.hpp"
#include "policy/expert_pool.hpp"
#include "policy/popularity.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

/// What the plan that is followed gives the holders; empty: there is none.
std::vector<bitmap> base_of(const placed_model& m) {
  const auto& followed = m.planner.followed;
  std::vector<bitmap> base;
  if (!followed.epoch)
    return base;
  for (const auto& h : m.holders) {
    auto share = std::find_if(followed.shares.begin(), followed.shares.end(),
                              [&](const auto& s) { return s.key == h.key; });
    base.push_back(share == followed.shares.end() ? bitmap(m.items()) : share->holds);
  }
  return base;
}

using demands_by_hash = std::map<hash256, policy::room_demand>;

/// Of this node and of those that are up.
demands_by_hash models_known(const updater_state& st) {
  demands_by_hash out;
  for (const auto& [name, m] : st.models)
    out[m.hosted.model->hash] = {std::max<uint64_t>(m.expert_bytes, 1), m.items()};
  for (const auto& who : *st.members)
    if (who.up && who.record)
      for (const auto& r : who.record->models)
        if (r.expert_bytes)
          out.try_emplace(r.hash, policy::room_demand{r.expert_bytes, r.holds.size()});
  return out;
}

template <class Runs>
policy::node_memory memory_of(uint64_t bytes, const demands_by_hash& models, Runs runs) {
  policy::node_memory out{bytes, {}};
  for (const auto& [hash, demand] : models)
    out.runs.push_back(runs(hash));
  return out;
}

bool runs_here(const updater_state& st, const hash256& hash) {
  return std::any_of(st.models.begin(), st.models.end(),
                     [&](const auto& m) { return m.second.hosted.model->hash == hash; });
}

bool runs_there(const node_record& there, const hash256& hash) {
  return std::any_of(there.models.begin(), there.models.end(),
                     [&](const auto& r) { return r.hash == hash && r.expert_bytes; });
}

/// By key, so that all nodes divide alike.
std::map<std::string, policy::node_memory> memory_known(const updater_state& st,
                                                        const demands_by_hash& models) {
  std::map<std::string, policy::node_memory> out;
  for (const auto& who : *st.members)
    if (who.up && who.record && !who.record->draining)
      out[who.key] = memory_of(who.record->expert_memory_bytes, models,
                               [&](const auto& hash) { return runs_there(*who.record, hash); });
  out[st.config.key] =
      memory_of(st.expert_memory, models, [&](const auto& hash) { return runs_here(st, hash); });
  return out;
}

/// Bytes of each node's memory for each model.
struct division {
  std::vector<std::string> keys;            ///< rising
  size_t here = 0;                          ///< among them
  std::vector<std::vector<uint64_t>> bytes; ///< [nodes][models]
};

division divide(const updater_state& st, const demands_by_hash& models) {
  std::vector<policy::room_demand> demands;
  for (const auto& [hash, demand] : models)
    demands.push_back(demand);
  division out;
  std::vector<policy::node_memory> nodes;
  for (const auto& [key, memory] : memory_known(st, models)) {
    if (key == st.config.key)
      out.here = nodes.size();
    out.keys.push_back(key);
    nodes.push_back(memory);
  }
  out.bytes = policy::divide_memory(nodes, demands);
  return out;
}

/// By the nodes of the division.
std::vector<policy::pool_member> readers_of(const updater_state& st, const placed_model& m,
                                            const division& all, size_t model) {
  std::vector<policy::pool_member> out;
  for (size_t n = 0; n < all.keys.size(); ++n)
    out.push_back({all.bytes[n][model], n == all.here && can_read(m)});
  for (const auto& who : *st.members)
    if (const auto* r = record_of(who, m); r && r->reads)
      for (size_t n = 0; n < all.keys.size(); ++n)
        if (all.keys[n] == who.key)
          out[n].reads = true;
  return out;
}

uint64_t beyond(uint64_t budget, uint64_t fixed) {
  return budget - std::min(fixed, budget);
}

uint64_t ram_room(const updater_state& st) {
  uint64_t fixed = st.ram.kv_bytes + st.ram.buffer_bytes;
  for (const auto& [name, m] : st.models)
    fixed += m.hosted.model->near ? 0 : m.hosted.model->dense.bytes;
  return beyond(st.config.ram_bytes, fixed);
}

/// For routed experts. What every token uses has its room whether it is here or not; layouts of a
/// card grow by up to 3 %.
uint64_t card_room(const updater_state& st) {
  uint64_t fixed = st.card.kv_bytes + st.card.buffer_bytes;
  for (const auto& [name, m] : st.models)
    if (const auto& near = m.hosted.model->near)
      fixed += m.hosted.model->dense.bytes + near->shared_bytes() + near->shared_bytes() / 32 +
               near->unusable();
  return beyond(st.card.budget_bytes, fixed);
}

uint64_t largest_expert(const updater_state& st) {
  uint64_t largest = 1;
  for (const auto& [name, m] : st.models)
    largest = std::max(largest, m.expert_bytes);
  return largest;
}

} // namespace

void adopt_models(updater_state& st) {
  for (auto all = st.config.models->all(); const auto& hosted : *all)
    if (!st.models.contains(hosted.model->name))
      st.models.emplace(hosted.model->name, place_model(hosted));
}

void measure_room(updater_state& st) {
  st.expert_memory = policy::room_with_card(ram_room(st), card_room(st), largest_expert(st));
  auto all = models_known(st);
  auto parts = divide(st, all);
  for (auto& [name, m] : st.models) {
    auto at = all.find(m.hosted.model->hash);
    auto column = static_cast<size_t>(std::distance(all.begin(), at));
    auto pools = policy::pools_of(readers_of(st, m, parts, column), at->second, pool_rule_of(m));
    follow_rule(st, m, pools, parts.here);
    auto here = parts.bytes[parts.here][column];
    auto share = policy::room_in(beyond(here, m.pool.bytes + read_by(m)),
                                 std::max<uint64_t>(m.expert_bytes, 1));
    m.space = share.space;
    m.room = share.room;
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
  const auto& followed = m.planner.followed;
  auto common = policy::combine_popularity(used, m.items());
  if (holders == m.holders && common == m.common && m.based_on == followed.epoch &&
      m.based_on_planner == followed.planner)
    return;
  m.based_on = followed.epoch;
  m.based_on_planner = followed.planner;
  m.common = std::move(common);
  m.holders = holders;
  auto base = base_of(m);
  auto made = policy::assign({model.config().layers, model.experts_per_layer, m.holders, m.common,
                              base, model.experts_per_layer - model.config().experts});
  m.plan = std::move(made.plan.front());
  m.plans.clear();
  for (size_t h = 1; h < m.holders.size(); ++h)
    m.plans[m.holders[h].key] = std::move(made.plan[h]);
}

void count_tokens(placed_model& m, uint64_t routed) {
  constexpr double fresh = 0.2; // of the average, a look
  auto now = steady::now();
  m.routed_tokens = routed;
  if (auto us = us_between(std::exchange(m.tokens_looked, now), now); m.tokens_seen && us) {
    double rate = static_cast<double>(routed - std::min(routed, m.tokens_seen)) * 1e6 /
                  static_cast<double>(us);
    m.tokens_per_s += fresh * (rate - m.tokens_per_s);
  } else if (routed) {
    m.tokens_per_s = 1;
  }
  m.tokens_seen = routed;
}

void make_room(const updater_state& st, placed_model& m, size_t coming) {
  bitmap retiring(m.items());
  for (const auto& [item, since] : m.retiring)
    retiring.set(item);
  auto gone = policy::to_retire({m.holds, m.plan, retiring, m.common, m.room, coming},
                                [&](size_t i) { return may_go(*st.members, m, i); });
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
