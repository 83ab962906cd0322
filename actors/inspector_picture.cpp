#include "actors/inspector_picture.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace coel::actors {

namespace {

/// A gate passes the question for its experts on, so it is asked for its own status first: a
/// question that waits behind another would count as its mailbox.
void gather_layer(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until,
                  size_t model, size_t layer) {
  auto gate = (*p->hosted)[model].gates[layer];
  auto take_experts = [=](std::vector<expert_status> e) {
    p->actors.models[model].layers[layer].experts = std::move(e);
  };
  ask<component_status>(
      self, until, gate,
      [=](component_status c) {
        p->actors.models[model].layers[layer].gate = std::move(c);
        ask<std::vector<expert_status>>(self, until, gate, take_experts, atom::details::value);
      },
      atom::status::value);
}

void gather_model(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until,
                  size_t model) {
  const auto& m = (*p->hosted)[model];
  auto& seen = p->actors.models[model];
  seen.model = m.model->name;
  seen.layers.resize(m.gates.size());
  if (m.scheduler)
    ask<component_status>(
        self, until, m.scheduler,
        [p, model](component_status c) { p->actors.models[model].scheduler = std::move(c); },
        atom::status::value);
  for (size_t l = 0; l < m.gates.size(); ++l)
    gather_layer(self, p, until, model, l);
}

std::vector<compute::device_status> devices_of(const hosted_models::list& hosted) {
  std::set<const compute::device*> seen;
  std::vector<compute::device_status> all;
  for (const auto& m : hosted)
    if (seen.insert(m.model->device.get()).second)
      all.push_back(m.model->device->status());
  return all;
}

/// Adds the status of one actor that serves all models; the place is taken before the answer comes,
/// so that the order is always the same.
template <class Whom>
void gather_other(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until,
                  const Whom& whom) {
  auto place = p->actors.others.size();
  p->actors.others.emplace_back();
  ask<component_status>(
      self, until, whom, [p, place](component_status c) { p->actors.others[place] = std::move(c); },
      atom::status::value);
}

/// By name; those that never answered have none and come last.
std::vector<link_status> in_order(std::vector<link_status> links) {
  std::sort(links.begin(), links.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.name.empty(), a.name, a.endpoint) <
           std::tuple(b.name.empty(), b.name, b.endpoint);
  });
  return links;
}

/// This node stays the first.
std::vector<placement_status> in_order(std::vector<placement_status> placement) {
  for (auto& p : placement)
    std::sort(p.nodes.begin() + 1, p.nodes.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  return placement;
}

void gather_links(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until,
                  const perception_actor& perception) {
  ask<members_ptr>(
      self, until, perception,
      [=](const members_ptr& members) {
        for (const auto& m : *members)
          gather_other(self, p, until, m.link);
      },
      atom::members::value);
}

} // namespace

app_socket_actor socket_of(const inspector_state& st) {
  auto socket = caf::actor_cast<caf::strong_actor_ptr>(st.socket);
  return socket ? caf::actor_cast<app_socket_actor>(socket) : app_socket_actor{};
}

void gather(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  const auto& config = self->state.config;
  p->node = config.facts;
  p->node.uptime_s = static_cast<double>(us_between(config.started, steady::now())) / 1e6;
  std::vector<served_model_ptr> models;
  for (const auto& hosted : *p->hosted)
    models.push_back(hosted.model);
  p->node.card = card_facts_of(models);
  p->models.resize(p->hosted->size());
  p->tiers.resize(config.tiers.size());
  for (size_t i = 0; i < p->hosted->size(); ++i) {
    const auto& hosted = (*p->hosted)[i];
    p->models[i].model = hosted.model;
    p->models[i].bytes = *hosted.model->resident_bytes;
    p->models[i].home = hosted.scheduler != nullptr;
    p->models[i].no_home = hosted.no_home;
    if (hosted.scheduler)
      ask<scheduler_status>(
          self, until, hosted.scheduler,
          [p, i](scheduler_status s) { p->models[i].scheduler = std::move(s); },
          atom::details::value);
  }
  for (size_t i = 0; i < config.tiers.size(); ++i)
    ask<tier_status>(
        self, until, config.tiers[i], [p, i](tier_status t) { p->tiers[i] = std::move(t); },
        atom::details::value);
  if (auto socket = socket_of(self->state))
    ask<app_totals>(
        self, until, socket,
        [p](app_totals t) {
          p->node.requests = t.requests;
          p->node.errors = t.errors;
          p->node.draining = t.draining;
        },
        atom::details::value);
}

void gather_actors(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  const auto& st = self->state;
  p->actors.devices = devices_of(*p->hosted);
  p->actors.models.resize(p->hosted->size());
  for (size_t i = 0; i < p->hosted->size(); ++i)
    gather_model(self, p, until, i);
  for (const auto& m : *p->hosted)
    for (const auto& part : m.parts)
      gather_other(self, p, until, part);
  for (const auto& tier : st.config.tiers)
    gather_other(self, p, until, tier);
  if (auto socket = socket_of(st))
    gather_other(self, p, until, socket);
  p->actors.others.push_back(st.cost.status(self, "inspector"));
  if (const auto& cluster = st.config.cluster) {
    gather_other(self, p, until, cluster->perception);
    gather_other(self, p, until, cluster->updater);
    gather_links(self, p, until, cluster->perception);
  }
}

void gather_cluster(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  const auto& cluster = self->state.config.cluster;
  if (!cluster)
    return;
  auto& facts = p->cluster.emplace(cluster->facts);
  if (auto hello = cluster->hello.lock())
    facts.hello = hello->snapshot();
  if (auto receiver = cluster->receiver.lock())
    facts.refused = receiver->counts().refused;
  ask<std::vector<link_status>>(
      self, until, cluster->perception,
      [p](std::vector<link_status> links) { p->cluster->links = in_order(std::move(links)); },
      atom::details::value);
  ask<members_ptr>(
      self, until, cluster->perception,
      [p](members_ptr members) { p->cluster->members = std::move(members); }, atom::members::value);
  ask<std::vector<placement_status>>(
      self, until, cluster->updater,
      [p](std::vector<placement_status> all) { p->cluster->placement = in_order(std::move(all)); },
      atom::details::value);
  for (const auto& m : *p->hosted)
    if (m.scheduler)
      ask<scheduler_status>(
          self, until, m.scheduler,
          [p, name = m.model->name](const scheduler_status& s) {
            p->cluster->network.push_back({name, s.network});
          },
          atom::details::value);
}

} // namespace coel::actors
