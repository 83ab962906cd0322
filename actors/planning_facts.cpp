#include "actors/planning_facts.hpp"

#include "actors/updater_pool.hpp"
#include "policy/model_figures.hpp"
#include "policy/popularity.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace coel::actors {

namespace {

constexpr double handling_us = 60; // of a dispatch beside the round trip, as plans count it

/// A node of the basis: this one, or a member with its record.
struct source {
  const member* who = nullptr; ///< null: this node
  const model_record* record = nullptr;
};

source source_of(const updater_state& st, const placed_model& m, const std::string& key) {
  for (const auto& who : *st.members)
    if (who.key == key)
      if (const auto* r = record_of(who, m))
        return {&who, r};
  return {};
}

uint64_t room_of(const member& who, const model_record& r) {
  return who.record->draining || !r.expert_bytes ? 0 : r.capacity_bytes / r.expert_bytes;
}

std::vector<double> use_of(const std::vector<uint8_t>& quantised) {
  std::vector<double> out;
  out.reserve(quantised.size());
  for (auto q : quantised)
    out.push_back(policy::popularity_of(q));
  return out;
}

void add_use(std::vector<double>& sum, const std::vector<uint8_t>& quantised) {
  for (size_t i = 0; i < std::min(sum.size(), quantised.size()); ++i)
    sum[i] += policy::popularity_of(quantised[i]);
}

/// Of the links between this node and others: fixed and by row, both ways.
policy::link_facts link_of(const policy::host_cost& cost, double row_bytes) {
  policy::link_facts out;
  out.rtt_us = std::max(1.0, cost.fixed_us - handling_us);
  out.bytes_us = cost.wire_us_per_row > 0 ? 2 * row_bytes / cost.wire_us_per_row : 1000;
  return out;
}

std::map<node_id, policy::host_cost> costs_of(const updater_state& st, const placed_model& m) {
  std::vector<node_id> hosts;
  for (const auto& who : *st.members)
    if (who.up)
      hosts.push_back(who.id);
  return m.hosted.model->costs->usual_costs(this_node, hosts);
}

double row_bytes(const updater_state& st, const placed_model& m) {
  return m.hosted.model->config().hidden * st.config.planning.wire_value_bytes;
}

policy::model_demand demand(const updater_state& st, const placed_model& m) {
  const auto& c = m.hosted.model->config();
  policy::model_figures f;
  f.name = m.hosted.model->name;
  f.layers = c.layers;
  f.hidden = c.hidden;
  f.heads = c.heads;
  f.kv_heads = c.kv_heads;
  f.head_dim = c.head_dim;
  f.experts = c.experts;
  f.top_k = c.top_k;
  f.expert_ff = c.expert_ff;
  f.shared_ff = c.shared_ff;
  f.slices = m.hosted.model->experts_per_layer - c.experts;
  f.vocab = c.vocab;
  f.tied_output = c.tied_output;
  f.bytes_per_weight = static_cast<double>(m.expert_bytes) /
                       std::max(1.0, 3.0 * c.hidden * static_cast<double>(c.expert_ff));
  f.context_tokens = c.context;
  auto d = policy::demand_of(f);
  d.expert_bytes = m.expert_bytes;
  d.wire_row_bytes = static_cast<uint32_t>(row_bytes(st, m));
  return d;
}

policy::live_node node_here(const updater_state& st, const placed_model& m) {
  policy::live_node n;
  n.key = st.config.key;
  n.name = st.config.name;
  n.memory_bytes = st.config.ram_bytes + st.card.budget_bytes;
  n.speed = m.hosted.model->costs->speed(this_node);
  n.dense = m.hosted.model->costs->dense(this_node, m.hosted.model->config().vocab);
  n.tokens_per_s = m.tokens_per_s;
  if (m.routed_tokens)
    n.use = use_of(quantised_use(m));
  return n;
}

/// Its own word on its speed, or what was seen from here, which counts its load too.
policy::live_node node_there(const source& from, const placed_model& m) {
  policy::live_node n;
  n.key = from.who->key;
  n.name = from.who->name;
  n.memory_bytes = from.who->record->ram_bytes;
  n.speed = m.hosted.model->costs->speed(from.who->id);
  if (n.speed == expert_speed{})
    n.speed = from.record->speed;
  n.dense = from.record->dense;
  n.tokens_per_s = from.record->tokens_per_s;
  if (from.record->tokens_per_s > 0)
    n.use = use_of(from.record->popularity);
  return n;
}

policy::expert_map empty_map(const placed_model& m, const policy::plan_basis& basis) {
  return {static_cast<uint32_t>(basis.nodes.size()), m.hosted.model->config().layers,
          m.hosted.model->experts_per_layer};
}

void put(policy::expert_map& map, uint32_t node, const bitmap& holds) {
  for (size_t i = 0; i < map.hosts.size(); ++i)
    if (holds.test(i))
      map.hosts[i] |= policy::only(node);
}

std::vector<planned_share> shares_of(const policy::expert_map& map,
                                     const policy::plan_basis& basis) {
  std::vector<planned_share> out;
  auto holds = map.by_node();
  for (size_t n = 0; n < basis.nodes.size(); ++n)
    out.push_back({basis.nodes[n].key, std::move(holds[n])});
  return out;
}

std::vector<plan_option> options_of(const policy::cluster_plan& plan) {
  std::vector<plan_option> out;
  for (const auto& c : plan.placement.candidates)
    out.push_back({c.name, c.decode.us, c.request_us, c.decode.rounds, c.decode.bytes});
  if (plan.alone_decode && plan.kind != policy::plan_kind::alone)
    out.push_back({"one node alone", plan.alone_decode->us, plan.alone_request_us, 0, 0});
  return out;
}

} // namespace

policy::plan_basis basis_of(const updater_state& st, const placed_model& m) {
  policy::plan_basis b;
  bool home = m.hosted.scheduler && !st.draining;
  b.nodes.push_back(
      {st.config.key, home, st.draining ? 0 : m.room, m.hosted.model->costs->speed(this_node)});
  b.use.assign(m.items(), 0);
  b.tokens = m.routed_tokens;
  b.sessions = m.sessions;
  if (m.routed_tokens)
    add_use(b.use, quantised_use(m));
  auto costs = costs_of(st, m);
  for (const auto& who : *st.members)
    if (const auto* r = record_of(who, m)) {
      auto seen = m.hosted.model->costs->speed(who.id);
      b.nodes.push_back(
          {who.key, r->home, room_of(who, *r), seen == expert_speed{} ? r->speed : seen});
      b.links.push_back({st.config.key, who.key, costs.at(who.id).fixed_us});
      b.sessions += r->sessions;
      if (r->tokens_per_s > 0)
        add_use(b.use, r->popularity);
    }
  std::sort(b.nodes.begin(), b.nodes.end(),
            [](const auto& x, const auto& y) { return x.key < y.key; });
  // A node may have a second link for a moment.
  b.nodes.erase(std::unique(b.nodes.begin(), b.nodes.end(),
                            [](const auto& x, const auto& y) { return x.key == y.key; }),
                b.nodes.end());
  return b;
}

policy::live_cluster cluster_of(const updater_state& st, const placed_model& m,
                                const policy::plan_basis& basis, const routing_samples& samples) {
  policy::live_cluster out;
  out.model = demand(st, m);
  out.options.shape = st.config.planning.shape;
  out.options.sessions = std::max(1.0, std::round(basis.sessions));
  std::map<std::string, uint32_t> number;
  for (const auto& n : basis.nodes) {
    auto from = source_of(st, m, n.key);
    auto& node = out.nodes.emplace_back(from.who ? node_there(from, m) : node_here(st, m));
    node.home = n.home;
    node.room = n.room;
    if (m.pool.on && (from.record ? from.record->reads : can_read(m)))
      node.read_us = std::max(1.0, read_us(m));
    if (auto known = samples.find(n.key); known != samples.end() && known->second)
      node.sample = *known->second;
    number.emplace(n.key, static_cast<uint32_t>(number.size()));
  }
  out.network = policy::network_facts(static_cast<uint32_t>(basis.nodes.size()));
  for (const auto& n : basis.nodes) // their own word on their links; ours is set after it
    if (auto from = source_of(st, m, n.key); from.who)
      for (const auto& l : from.who->record->neighbours)
        if (number.contains(l.key) && l.goodput_bytes_s)
          out.network.set(
              number[n.key], number[l.key],
              {static_cast<double>(l.round_trip_us), static_cast<double>(l.goodput_bytes_s) / 1e6});
  auto costs = costs_of(st, m);
  for (const auto& who : *st.members)
    if (number.contains(who.key) && who.up)
      out.network.set(number[st.config.key], number[who.key],
                      link_of(costs.at(who.id), row_bytes(st, m)));
  return out;
}

policy::expert_map mended_map(const updater_state& st, const placed_model& m,
                              const policy::plan_basis& basis) {
  auto map = empty_map(m, basis);
  for (uint32_t n = 0; n < basis.nodes.size(); ++n) {
    auto there = m.plans.find(basis.nodes[n].key);
    if (basis.nodes[n].key == st.config.key)
      put(map, n, m.plan);
    else if (there != m.plans.end())
      put(map, n, there->second);
  }
  return map;
}

policy::expert_map held_map(const updater_state& st, const placed_model& m,
                            const policy::plan_basis& basis) {
  auto map = empty_map(m, basis);
  for (uint32_t n = 0; n < basis.nodes.size(); ++n) {
    auto from = source_of(st, m, basis.nodes[n].key);
    if (basis.nodes[n].key == st.config.key)
      put(map, n, m.holds);
    else if (from.record)
      put(map, n, from.record->holds);
  }
  return map;
}

std::vector<policy::stage> followed_stages(const placed_model& m, const policy::plan_basis& basis) {
  std::vector<policy::stage> out;
  for (const auto& s : m.planner.followed.stages) {
    auto at = std::find_if(basis.nodes.begin(), basis.nodes.end(),
                           [&](const auto& n) { return n.key == s.key && n.home; });
    if (at == basis.nodes.end())
      return {};
    out.push_back({static_cast<uint32_t>(at - basis.nodes.begin()), s.first, s.layers});
  }
  return out;
}

plan_record record_of_plan(const policy::cluster_plan& plan, const policy::plan_basis& basis) {
  plan_record out;
  const auto& best = plan.placement.best();
  out.chosen = {best.name, best.decode.us, best.request_us, best.decode.rounds, best.decode.bytes};
  out.why = plan.why;
  out.alone = plan.kind == policy::plan_kind::alone;
  out.options = options_of(plan);
  out.shares = shares_of(best.map, basis);
  if (plan.kind == policy::plan_kind::stages)
    for (const auto& s : plan.way->stages)
      out.stages.push_back({basis.nodes[s.node].key, s.first_layer, s.layers});
  return out;
}

plan_record record_of_present(const policy::expert_map& map, const policy::placement_price& price,
                              const policy::cluster_plan& plan, const plan_record& followed,
                              const policy::plan_basis& basis) {
  plan_record out;
  const auto& best = plan.placement.best();
  auto name = followed.epoch ? followed.chosen.name : std::string("rendezvous");
  if (name.rfind("kept: ", 0) != 0)
    name = "kept: " + name;
  out.chosen = {name, price.decode.us, price.request_us, price.decode.rounds, price.decode.bytes};
  char text[240];
  std::snprintf(text, sizeof text,
                "kept as it is: it answers a request in %.1f ms by prediction; %s would take "
                "%.1f ms, which is not worth moving experts",
                price.request_us / 1000, best.name.c_str(), best.request_us / 1000);
  out.why = text;
  out.options = options_of(plan);
  out.options.push_back(out.chosen);
  out.shares = shares_of(map, basis);
  out.stages = followed.stages;
  return out;
}

std::vector<neighbour_record> measured_links(const updater_state& st) {
  std::vector<neighbour_record> out;
  for (const auto& [name, m] : st.models) {
    if (!m.hosted.scheduler)
      continue;
    auto costs = costs_of(st, m);
    for (const auto& who : *st.members)
      if (who.up) {
        auto link = link_of(costs.at(who.id), row_bytes(st, m));
        out.push_back({who.key, static_cast<uint32_t>(std::min(link.rtt_us, 1e9)),
                       static_cast<uint64_t>(link.bytes_us * 1e6)});
      }
    break; // links are the same for all models
  }
  return out;
}

} // namespace coel::actors
