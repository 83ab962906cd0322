#include "actors/updater.hpp"

#include "actors/errors.hpp"
#include "actors/placer.hpp"
#include "actors/updater_homing.hpp"
#include "actors/updater_plan.hpp"
#include "actors/updater_planning.hpp"
#include "actors/updater_pool.hpp"
#include "actors/updater_words.hpp"
#include "policy/record_news.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = updater_actor::stateful_pointer<updater_state>;
using namespace std::chrono_literals;

constexpr auto tick_every = 250ms;
constexpr auto retry_after = 5s;
constexpr auto retry_when_full = 250ms; // what was evicted may still be leased
/// Neighbours hear that an expert goes before it goes: rows that are under way still find it.
constexpr auto retire_after = 1s;
constexpr auto retire_soon = 100ms;       // requests wait for what comes in its place
constexpr uint64_t popularity_every = 20; // ticks
constexpr uint64_t load_every = 4;
constexpr uint64_t chunks_every = 8; // while a model is fetched they change all the time

void advance(self_ptr self);
void replan(self_ptr self);

// ---- the routing table

/// One node is faster than several, by plan, and it is this one.
bool runs_alone(const placed_model& m) {
  return m.planner.followed.alone && m.hosted.scheduler && m.holds.count() == m.items() &&
         m.plan.count() == m.items();
}

/// Homes, to which layers of sessions may go, and the way that is planned through them.
stage_view stages_of(const updater_state& st, const placed_model& m) {
  stage_view out;
  if (!m.hosted.stage)
    return out;
  out.own_key = st.config.key;
  out.draining = st.draining;
  out.links.emplace(this_node, m.hosted.stage);
  out.keys.emplace(st.config.key, this_node);
  for (const auto& who : *st.members) {
    const auto* r = record_of(who, m);
    if (!r || (!r->home && !who.record->draining)) // who drains says of nothing that it is home
      continue;
    out.links.emplace(who.id, who.link);
    out.keys.emplace(who.key, who.id);
    if (who.record->draining)
      out.leaving.insert(who.id);
  }
  for (const auto& s : m.planner.followed.stages) {
    auto at = out.keys.find(s.key);
    if (at == out.keys.end() || out.leaving.contains(at->second)) {
      out.path.clear(); // until there is a plan without that node
      break;
    }
    out.path.push_back({at->second, s.key, s.first, s.first + s.layers});
  }
  return out;
}

bool same(const stage_view& a, const stage_view& b) {
  return a.path == b.path && a.keys == b.keys && a.leaving == b.leaving && a.draining == b.draining;
}

void publish(self_ptr self, placed_model& m) {
  std::map<node_id, bitmap> holds{{this_node, m.holds}};
  std::map<node_id, link_actor> links;
  std::set<node_id> helpers;
  for (const auto& who : *self->state.members)
    if (const auto* r = record_of(who, m)) {
      holds[who.id] = asked_of(*self->state.members, m, who, *r);
      links.emplace(who.id, who.link);
      if (!r->home)
        helpers.insert(who.id);
    }
  bool alone = runs_alone(m);
  auto stages = stages_of(self->state, m);
  if (m.view && holds == m.routed && helpers == m.view->helpers && alone == m.view->alone &&
      same(stages, m.view->stages))
    return;
  m.routed = holds;
  const auto& model = *m.hosted.model;
  policy::routing_table table(model.config().layers, model.experts_per_layer, holds, ++m.epoch);
  m.view = std::make_shared<const route_view>(
      route_view{std::move(table), std::move(links), std::move(helpers), alone, std::move(stages)});
  for (const auto& g : m.hosted.gates)
    self->send(g, atom::publish::value, m.view);
  self->send(m.hosted.head, atom::publish::value, m.view);
  if (!m.hosted.stage)
    return;
  self->send(m.hosted.scheduler, atom::publish::value, m.view);
  self->send(m.hosted.stage, atom::publish::value, m.view);
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

void tell(self_ptr self) {
  auto& st = self->state;
  auto now = record_now(st);
  if (st.told.version && !policy::says_more(now, st.told, st.ticks % chunks_every == 0))
    return;
  st.told = now;
  self->send(st.config.perception, atom::tell::value,
             std::make_shared<const node_record>(std::move(now)));
}

// ---- towards the plan

/// Its room is free when its weights are gone, not before.
void evict(self_ptr self, placed_model& m, size_t item) {
  m.holds.set(item, false);
  ++m.leaving;
  auto gone = [self, name = m.hosted.model->name] {
    --self->state.models.at(name).leaving;
    advance(self);
  };
  self->request(m.hosted.experts[item], caf::infinite, atom::evict::value)
      .then([gone](uint64_t) { gone(); }, [gone](caf::error&) { gone(); });
}

void evict_retired(self_ptr self, placed_model& m) {
  if (m.retiring.empty())
    return;
  auto after = lacks(*self->state.members, m) ? retire_soon : retire_after;
  for (auto at = m.retiring.begin(); at != m.retiring.end();) {
    auto [item, since] = *at;
    bool back = m.plan.test(item) || !may_go(*self->state.members, m, item);
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
            bool lacked = lacks(*self->state.members, now);
            now.holds.set(item);
            if (lacked && !lacks(*self->state.members, now))
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
    follow_newest(st, m);
    make_plan(st, m);
    auto missing = wanted(m).size();
    make_room(st, m, std::min<size_t>(missing, 64) + m.loading.size());
    evict_retired(self, m);
    look_after_pool(self, name, m, [self] { replan(self); });
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
    if (!before.up || still)
      continue;
    forget_promises(st, before.key);
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
                count_tokens(now, s.routed_tokens);
                now.sessions = static_cast<uint32_t>(s.sessions.size());
                auto per_layer = now.hosted.model->experts_per_layer;
                now.popularity.assign(now.items(), 0);
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
  st.config.load(load_now(st, fraction));
}

void look_at_ram(self_ptr self) {
  self->request(self->state.config.ram, 5s, atom::details::value)
      .then(
          [self](const tier_status& ram) {
            self->state.ram = ram;
            replan(self);
            look_after_plans(self, [self] { replan(self); });
          },
          [](caf::error&) {});
}

/// Of both memories, before anything is planned.
void look_at_memory(self_ptr self) {
  const auto& card = self->state.config.card;
  if (!card)
    return look_at_ram(self);
  self->request(card, 5s, atom::details::value)
      .then(
          [self](const tier_status& now) {
            self->state.card = now;
            look_at_ram(self);
          },
          [](caf::error&) {});
}

void tick(self_ptr self) {
  auto& st = self->state;
  adopt_models(st);
  if (st.ticks % load_every == 0)
    measure_load(st);
  if (st.ticks++ % popularity_every == popularity_every - 1)
    ask_popularity(self);
  look_at_memory(self);
  self->delayed_send(self, tick_every, atom::tick::value);
}

} // namespace

updater_actor::behavior_type updater(self_ptr self, updater_config config) {
  self->state.config = std::move(config);
  self->state.placer = self->spawn<caf::detached + caf::linked>(placer);
  self->send(self, atom::tick::value);
  return {
      [self](atom::status) { return self->state.cost.status(self, "updater"); },
      [self](const members_ptr& members) {
        auto measured = self->state.cost.measure();
        take_members(self, members);
      },
      [self](const homing_question& ask) -> caf::result<home_choice> {
        auto measured = self->state.cost.measure();
        return choose_home(self, ask);
      },
      [self](atom::reserve, const std::string& key, const reservation_message& word) {
        hear_reservation(self, key, word);
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
          all.push_back(placement_now(self->state, m));
        return all;
      },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        tick(self);
      },
  };
}

} // namespace coel::actors
