#include "actors/updater.hpp"

#include "actors/errors.hpp"
#include "model/weights.hpp"
#include "policy/popularity.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = updater_actor::stateful_pointer<updater_state>;
using placed = updater_state::placed_model;
using namespace std::chrono_literals;

constexpr auto tick_every = 250ms;
constexpr auto retry_after = 5s;
constexpr auto retry_when_full = 250ms; // what was evicted may still be leased
/// Neighbours hear that an expert goes before it goes: rows that are under way still find it.
constexpr auto retire_after = 1s;
constexpr auto retire_soon = 100ms; // requests wait for what comes in its place
constexpr uint64_t popularity_every = 20; // ticks
constexpr uint64_t load_every = 4;
constexpr uint64_t chunks_every = 8; // while a model is fetched they change all the time

void advance(self_ptr self);
void replan(self_ptr self);

size_t items_of(const placed& m) {
  return m.holds.size();
}

expert_key key_of(const placed& m, size_t item) {
  auto per_layer = m.hosted.model->experts_per_layer;
  return {static_cast<layer_id>(item / per_layer), static_cast<expert_id>(item % per_layer)};
}

uint64_t largest_expert(const served_model& m) {
  uint64_t largest = 1;
  for (uint32_t l = 0; l < m.config().layers; ++l)
    for (uint32_t e : {0u, m.experts_per_layer - 1})
      if (auto bytes = model::expert_file_bytes(
              *m.source, {static_cast<layer_id>(l), static_cast<expert_id>(e)}))
        largest = std::max(largest, *bytes);
  return largest;
}

/// Models that came since the last look.
void adopt_models(updater_state& st) {
  for (auto all = st.config.models->all(); const auto& hosted : *all) {
    auto [at, fresh] = st.models.try_emplace(hosted.model->name);
    if (!fresh)
      continue;
    auto& m = at->second;
    m.hosted = hosted;
    m.expert_bytes = largest_expert(*hosted.model);
    m.holds = m.plan =
        bitmap(size_t{hosted.model->config().layers} * hosted.model->experts_per_layer);
  }
}

// ---- what is known of others

const model_record* record_of(const member& who, const placed& m) {
  if (!who.up || !who.record)
    return nullptr;
  for (const auto& r : who.record->models)
    if (r.hash == m.hosted.model->hash && r.holds.size() == items_of(m))
      return &r;
  return nullptr;
}

bool held_by_others(const updater_state& st, const placed& m, size_t item) {
  for (const auto& who : *st.members)
    if (const auto* r = record_of(who, m); r && !who.record->draining && r->holds.test(item))
      return true;
  return false;
}

/// Somebody has it and is to keep it: two nodes never give the same expert up for each other's
/// sake.
bool kept_by_others(const updater_state& st, const placed& m, size_t item) {
  for (const auto& who : *st.members) {
    const auto* r = record_of(who, m);
    auto plan = m.plans.find(who.key);
    if (r && !who.record->draining && r->holds.test(item) && plan != m.plans.end() &&
        plan->second.test(item))
      return true;
  }
  return false;
}

// ---- the routing table

bitmap announced(const placed& m) {
  auto holds = m.holds;
  for (const auto& [item, since] : m.retiring)
    holds.set(item, false);
  return holds;
}

/// A node that drains is asked only for what nobody else holds.
bitmap asked_of(const updater_state& st, const placed& m, const member& who,
                const model_record& r) {
  auto holds = r.holds;
  for (size_t i = 0; who.record->draining && i < items_of(m); ++i)
    if (holds.test(i) && (m.holds.test(i) || held_by_others(st, m, i)))
      holds.set(i, false);
  return holds;
}

void publish(self_ptr self, placed& m) {
  std::map<node_id, bitmap> holds{{this_node, m.holds}};
  std::map<node_id, link_actor> links;
  for (const auto& who : *self->state.members)
    if (const auto* r = record_of(who, m)) {
      holds[who.id] = asked_of(self->state, m, who, *r);
      links.emplace(who.id, who.link);
    }
  if (holds == m.routed && m.view)
    return;
  m.routed = holds;
  const auto& model = *m.hosted.model;
  policy::routing_table table(model.config().layers, model.experts_per_layer, holds, ++m.epoch);
  m.view = std::make_shared<const route_view>(route_view{std::move(table), std::move(links)});
  for (const auto& g : m.hosted.gates)
    self->send(g, atom::publish::value, m.view);
  self->send(m.hosted.head, atom::publish::value, m.view);
}

size_t uncovered(const placed& m) {
  size_t n = 0;
  for (size_t i = 0; i < items_of(m); ++i) {
    bool held = false;
    for (const auto& [host, holds] : m.routed)
      held |= holds.test(i);
    n += !held;
  }
  return n;
}

void settle_ready(updater_state& st) {
  if (st.waiting.empty() || st.models.empty())
    return;
  for (const auto& [name, m] : st.models)
    if (uncovered(m))
      return;
  for (auto& promise : st.waiting)
    promise.deliver(true);
  st.waiting.clear();
}

// ---- this node's record

/// Room for an expert that comes before another may go: where every node is full of what the others
/// wait for, nothing could move.
uint64_t spare_of(uint64_t space) {
  return space < 4 ? 0 : std::max<uint64_t>(1, space / 64);
}

/// Memory for experts, shared by the models in proportion to the size of all their experts.
void measure_room(updater_state& st) {
  uint64_t fixed = st.ram.kv_bytes + st.ram.buffer_bytes, experts = 0;
  for (const auto& [name, m] : st.models) {
    fixed += m.hosted.model->dense.bytes;
    experts += m.expert_bytes * items_of(m);
  }
  uint64_t free = st.config.ram_bytes > fixed ? st.config.ram_bytes - fixed : 0;
  for (auto& [name, m] : st.models) {
    double share = static_cast<double>(m.expert_bytes * items_of(m)) / static_cast<double>(experts);
    m.space = static_cast<uint64_t>(static_cast<double>(free) * share) / m.expert_bytes;
    m.room = m.space - spare_of(m.space);
  }
}

std::vector<uint8_t> quantised(const placed& m) {
  std::vector<uint8_t> all(items_of(m));
  auto per_layer = m.hosted.model->experts_per_layer;
  for (size_t i = 0; i < all.size(); ++i) {
    bool shared = i % per_layer >= m.hosted.model->config().experts; // every token uses it
    double here = i < m.popularity.size() ? m.popularity[i] : 0;
    all[i] = policy::quantise_popularity(shared ? 1 : here);
  }
  return all;
}

model_record record_here(const updater_state& st, const placed& m) {
  const auto& model = *m.hosted.model;
  auto r = st.config.files(model);
  r.name = model.name;
  r.hash = model.hash;
  r.layers = model.config().layers;
  r.experts_per_layer = model.experts_per_layer;
  r.expert_bytes = m.expert_bytes;
  r.capacity_bytes = m.room * m.expert_bytes;
  r.home = m.hosted.scheduler && !st.draining;
  auto speed = model.costs->speed(this_node);
  constexpr double most_us = 1e9;
  r.speed = {std::round(std::min(speed.expert_us, most_us)),
             std::round(std::min(speed.row_us, most_us))};
  r.holds = announced(m);
  r.popularity = quantised(m);
  return r;
}

/// Small swings of speed and memory are not worth a message.
bool says_more(const node_record& now, const node_record& told, bool chunks_too) {
  if (now.models.size() != told.models.size() || now.draining != told.draining)
    return true;
  for (size_t i = 0; i < now.models.size(); ++i) {
    auto a = now.models[i];
    const auto& b = told.models[i];
    auto far = [](double x, double y) { return std::abs(x - y) > 0.2 * std::max(x, y); };
    if (far(a.speed.expert_us, b.speed.expert_us) || far(a.speed.row_us, b.speed.row_us))
      return true;
    a.speed = b.speed;
    if (!chunks_too && a.complete == b.complete)
      a.chunks = b.chunks;
    if (a != b)
      return true;
  }
  return false;
}

void tell(self_ptr self) {
  auto& st = self->state;
  node_record now;
  now.name = st.config.name;
  now.app_endpoints = st.config.app_endpoints;
  now.draining = st.draining;
  now.ram_bytes = st.config.ram_bytes;
  now.ram_used_bytes = st.ram.used_bytes;
  for (const auto& [name, m] : st.models)
    now.models.push_back(record_here(st, m));
  now.version = st.told.version + 1;
  if (st.told.version && !says_more(now, st.told, st.ticks % chunks_every == 0))
    return;
  st.told = now;
  self->send(st.config.perception, atom::tell::value,
             std::make_shared<const node_record>(std::move(now)));
}

// ---- the plan

void plan(updater_state& st, placed& m) {
  std::vector<policy::holder> holders{{st.config.key, st.draining ? 0 : m.room}};
  auto here = quantised(m);
  std::vector<const std::vector<uint8_t>*> used{&here};
  for (const auto& who : *st.members)
    if (const auto* r = record_of(who, m)) {
      bool takes = !who.record->draining && r->expert_bytes;
      holders.push_back({who.key, takes ? r->capacity_bytes / r->expert_bytes : 0});
      used.push_back(&r->popularity);
    }
  const auto& model = *m.hosted.model;
  auto common = policy::combine_popularity(used, items_of(m));
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

std::vector<size_t> by_popularity(const placed& m, const std::vector<size_t>& items, bool rising) {
  auto sorted = items;
  auto of = [&](size_t i) { return i < m.common.size() ? m.common[i] : 0; };
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](size_t a, size_t b) { return rising ? of(a) < of(b) : of(a) > of(b); });
  return sorted;
}

/// Experts that others hold and the plan gives to others make room, the least used first.
void make_room(updater_state& st, placed& m, size_t coming) {
  size_t kept = m.holds.count() - m.retiring.size() + coming;
  if (kept <= m.room)
    return;
  std::vector<size_t> spare;
  for (size_t i = 0; i < items_of(m); ++i)
    if (m.holds.test(i) && !m.plan.test(i) && !m.retiring.count(i) && kept_by_others(st, m, i))
      spare.push_back(i);
  for (size_t i : by_popularity(m, spare, true)) {
    if (kept-- <= m.room)
      return;
    m.retiring.emplace(i, steady::now());
  }
}

/// Something that this node is to hold is nowhere: requests wait for it.
bool lacks(const updater_state& st, const placed& m) {
  for (size_t i = 0; i < items_of(m); ++i)
    if (m.plan.test(i) && !m.holds.test(i) && !held_by_others(st, m, i))
      return true;
  return false;
}

/// Its room is free when its weights are gone, not before.
void evict(self_ptr self, placed& m, size_t item) {
  m.holds.set(item, false);
  ++m.leaving;
  auto gone = [self, name = m.hosted.model->name] {
    --self->state.models.at(name).leaving;
    advance(self);
  };
  self->request(m.hosted.experts[item], caf::infinite, atom::evict::value)
      .then([gone](uint64_t) { gone(); }, [gone](caf::error&) { gone(); });
}

void evict_retired(self_ptr self, placed& m) {
  if (m.retiring.empty())
    return;
  auto after = lacks(self->state, m) ? retire_soon : retire_after;
  for (auto at = m.retiring.begin(); at != m.retiring.end();) {
    auto [item, since] = *at;
    bool back = m.plan.test(item) || !kept_by_others(self->state, m, item);
    if (!back && steady::now() - since < after) {
      ++at;
      continue;
    }
    at = m.retiring.erase(at);
    if (!back)
      evict(self, m, item);
  }
}

void load(self_ptr self, const std::string& name, size_t item) {
  auto& st = self->state;
  auto& m = st.models.at(name);
  m.loading.insert(item);
  self->request(m.hosted.experts[item], caf::infinite, atom::load::value)
      .then(
          [=](uint64_t bytes) {
            auto& now = self->state.models.at(name);
            now.expert_bytes =
                std::max(now.expert_bytes, bytes); // packed, it may be larger than in the file
            now.loading.erase(item);
            bool lacked = lacks(self->state, now);
            now.holds.set(item);
            if (lacked && !lacks(self->state, now))
              replan(self); // tells those who wait for it
            else
              advance(self);
          },
          [=](caf::error& why) {
            auto& now = self->state.models.at(name);
            now.loading.erase(item);
            bool full = from_caf(why).code == ec::out_of_memory;
            now.failed[item] = steady::now() + (full ? retry_when_full : retry_after);
          });
}

std::vector<size_t> wanted(const placed& m) {
  std::vector<size_t> items;
  for (size_t i = 0; i < items_of(m); ++i)
    if (m.plan.test(i) && !m.holds.test(i) && !m.loading.count(i))
      items.push_back(i);
  return items;
}

/// What is on disk first, as the rest may have to wait for neighbours; then what nobody holds, then
/// what is used most.
std::vector<size_t> in_order_of_need(const updater_state& st, const placed& m) {
  auto items = by_popularity(m, wanted(m), false);
  std::stable_partition(items.begin(), items.end(),
                        [&](size_t i) { return !held_by_others(st, m, i); });
  const auto& presence = *m.hosted.model->presence;
  std::stable_partition(items.begin(), items.end(),
                        [&](size_t i) { return presence.present(key_of(m, i)); });
  return items;
}

void load_next(self_ptr self, const std::string& name) {
  auto& st = self->state;
  auto& m = st.models.at(name);
  if (m.loading.size() >= st.config.loads_at_once)
    return;
  auto now = steady::now();
  std::erase_if(m.failed, [now](const auto& f) { return f.second <= now; });
  for (size_t item : in_order_of_need(st, m)) {
    if (m.loading.size() >= st.config.loads_at_once)
      return;
    if (m.failed.count(item))
      continue;
    if (m.holds.count() + m.loading.size() + m.leaving >= m.space)
      return; // until something retired is gone
    load(self, name, item);
  }
}

/// One step nearer to the plan.
void advance(self_ptr self) {
  auto& st = self->state;
  for (auto& [name, m] : st.models)
    load_next(self, name);
}

// ---- events

void replan(self_ptr self) {
  auto& st = self->state;
  measure_room(st);
  for (auto& [name, m] : st.models) {
    plan(st, m);
    auto missing = wanted(m).size();
    make_room(st, m, std::min<size_t>(missing, 64) + m.loading.size());
    evict_retired(self, m);
    publish(self, m);
  }
  tell(self);
  settle_ready(st);
  advance(self);
}

void take_members(self_ptr self, const members_ptr& members) {
  auto& st = self->state;
  for (const auto& before : *st.members) {
    bool still = std::any_of(members->begin(), members->end(),
                             [&](const member& m) { return m.id == before.id && m.up; });
    if (before.up && !still)
      for (auto& [name, m] : st.models)
        m.hosted.model->costs->forget(before.id);
  }
  st.members = members;
  for (auto& [name, m] : st.models)
    for (const auto& who : *members)
      if (const auto* r = record_of(who, m))
        m.hosted.model->costs->announced(who.id, r->speed);
  replan(self);
}

void ask_popularity(self_ptr self) {
  for (auto& [name, m] : self->state.models)
    if (m.hosted.scheduler)
      self->request(m.hosted.scheduler, 5s, atom::details::value)
          .then(
              [self, name = name](const scheduler_status& s) {
                auto& now = self->state.models.at(name);
                auto per_layer = now.hosted.model->experts_per_layer;
                now.popularity.assign(items_of(now), 0);
                for (size_t l = 0; l < s.popularity.size(); ++l)
                  for (size_t e = 0; e < s.popularity[l].size(); ++e)
                    now.popularity[l * per_layer + e] = s.popularity[l][e];
              },
              [](caf::error&) {});
}

/// What HELLO says: the device's idle part since the last look, and room for experts.
void measure_load(updater_state& st) {
  if (st.models.empty())
    return st.config.load({});
  auto now = steady::now();
  auto busy = st.models.begin()->second.hosted.model->device->status().busy_us;
  double fraction = static_cast<double>(busy - st.busy_us) /
                    static_cast<double>(std::max<uint64_t>(1, us_between(st.looked, now)));
  st.busy_us = busy;
  st.looked = now;
  std::vector<policy::memory_room> rooms;
  for (const auto& [name, m] : st.models)
    rooms.push_back({(m.room - std::min<uint64_t>(m.room, m.holds.count())) * m.expert_bytes,
                     m.room * m.expert_bytes});
  st.config.load(policy::measure_load(std::clamp(fraction, 0.0, 1.0), rooms));
}

void tick(self_ptr self) {
  auto& st = self->state;
  adopt_models(st);
  if (st.ticks % load_every == 0)
    measure_load(st);
  if (st.ticks++ % popularity_every == popularity_every - 1)
    ask_popularity(self);
  self->request(st.config.ram, 5s, atom::details::value)
      .then(
          [self](const tier_status& ram) {
            self->state.ram = ram;
            replan(self);
          },
          [](caf::error&) {});
  self->delayed_send(self, tick_every, atom::tick::value);
}

// ---- status

placement_status placement(const updater_state& st, const placed& m) {
  const auto& model = *m.hosted.model;
  placement_status out{model.name,
                       model.config().layers,
                       model.experts_per_layer,
                       m.epoch,
                       static_cast<uint32_t>(uncovered(m)),
                       static_cast<uint32_t>(m.loading.size()),
                       static_cast<uint32_t>(wanted(m).size()),
                       {}};
  auto files = st.config.files(model);
  out.nodes.push_back({this_node, st.config.name, true, files.complete,
                       m.hosted.scheduler != nullptr, st.draining, m.room, m.holds});
  for (const auto& who : *st.members) {
    node_placement one{who.id, who.name, who.up, false, false, false, 0, bitmap(items_of(m))};
    if (const auto* r = record_of(who, m)) {
      one.complete = r->complete;
      one.home = r->home;
      one.draining = who.record->draining;
      one.room = r->expert_bytes ? r->capacity_bytes / r->expert_bytes : 0;
      one.holds = r->holds;
    }
    out.nodes.push_back(std::move(one));
  }
  return out;
}

} // namespace

updater_actor::behavior_type updater(self_ptr self, updater_config config) {
  self->state.config = std::move(config);
  self->send(self, atom::tick::value);
  return {
      [self](atom::status) { return self->state.cost.status(self, "updater"); },
      [self](const members_ptr& members) {
        auto measured = self->state.cost.measure();
        take_members(self, members);
      },
      [self](atom::ready) -> caf::result<bool> {
        auto promise = self->make_response_promise<bool>();
        self->state.waiting.push_back(promise);
        settle_ready(self->state);
        return promise;
      },
      [self](atom::drain) {
        self->state.draining = true;
        replan(self);
      },
      [self](atom::details) {
        std::vector<placement_status> all;
        for (const auto& [name, m] : self->state.models)
          all.push_back(placement(self->state, m));
        return all;
      },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        tick(self);
      },
  };
}

} // namespace coel::actors
