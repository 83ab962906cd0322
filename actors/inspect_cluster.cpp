#include "actors/inspect_cluster.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace coel::actors {

using nlohmann::json;

namespace {

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

const member* member_of(const cluster_facts& f, node_id id) {
  if (f.members)
    for (const auto& m : *f.members)
      if (m.id == id && index(id) != 0)
        return &m;
  return nullptr;
}

const placement_status* placement_of(const cluster_facts& f, const std::string& model) {
  for (const auto& p : f.placement)
    if (p.model == model)
      return &p;
  return nullptr;
}

/// A peer of the configuration that has never proved who it is, and whom an attempt has not
/// reached: it is tried for ever, which must not look like a neighbour that is on its way.
std::string state_of(const link_status& l) {
  bool unknown = index(l.id) == 0 && !l.why.empty();
  return unknown && l.state != "up" && l.state != "refused" ? "unreachable" : l.state;
}

/// A link has no name before it was up once; the address is better than nothing.
std::string name_of(const link_status& l) {
  return l.name.empty() ? l.endpoint : l.name;
}

/// Of a node for a model: "" where it is not known, or where it has nothing of the model.
const char* role_of(const node_placement& n) {
  return n.helper ? "helper" : n.home ? "home" : "";
}

json this_json(const cluster_facts& f) {
  return {{"name", f.name}, {"key", f.key}, {"endpoints", f.endpoints}};
}

// ---- HELLO

const char* word_of(policy::link_status s) {
  switch (s) {
  case policy::link_status::asymmetric:
    return "asymmetric";
  case policy::link_status::symmetric:
    return "symmetric";
  case policy::link_status::lost:
    return "lost";
  case policy::link_status::unspecified:
    break;
  }
  return "unspecified";
}

json heard_json(const policy::neighbour_view& n) {
  json out{{"address", net::ipv4_text(n.address)},
           {"at", net::ipv4_text(n.local)},
           {"link", word_of(n.status)},
           {"quality", n.quality},
           {"silent_ms", n.silent.count() / 1000},
           {"connected", n.connected},
           {"two_hop", n.two_hop.size()}};
  if (n.free.compute)
    out["compute_free"] = *n.free.compute;
  if (n.free.memory)
    out["memory_free"] = *n.free.memory;
  return out;
}

json refused_json(const cluster_facts& f) {
  json out = json::object();
  for (size_t i = 0; i < net::refusal_kinds; ++i)
    out[std::string(net::to_string(static_cast<net::refusal>(i)))] = f.refused[i];
  return out;
}

json hello_json(const cluster_facts& f) {
  json out{{"trouble", f.hello_trouble}, {"heard", json::array()}};
  if (!f.hello)
    return out;
  for (const auto& n : f.hello->neighbours)
    out["heard"].push_back(heard_json(n));
  out.update({{"sent", f.hello->sent},
              {"received", f.hello->received},
              {"hostile", f.hello->hostile},
              {"refused", f.hello->refused},
              {"limited", f.hello->limited}});
  return out;
}

// ---- links

json counts_json(const link_counts& c) {
  return {{"frames_out", c.frames_out}, {"frames_in", c.frames_in},   {"bytes_out", c.bytes_out},
          {"bytes_in", c.bytes_in},     {"dispatches", c.dispatches}, {"late", c.late},
          {"failed", c.failed},         {"bad_frames", c.bad_frames}, {"times_down", c.times_down}};
}

json link_json(const cluster_facts& f, const link_status& l) {
  const auto* m = member_of(f, l.id);
  return {{"id", index(l.id)},
          {"name", l.name},
          {"key", m ? m->key : ""},
          {"endpoint", l.endpoint},
          {"state", state_of(l)},
          {"why", l.state == "up" ? "" : l.why},
          {"round_trip_us", l.round_trip_us},
          {"variation_us", l.variation_us},
          {"goodput_bytes_s", l.goodput_bytes_s},
          {"waiting", l.waiting},
          {"counts", counts_json(l.counts)}};
}

json links_json(const cluster_facts& f) {
  json out = json::array();
  for (const auto& l : f.links)
    out.push_back(link_json(f, l));
  return out;
}

// ---- placement

std::vector<uint32_t> replicas_of(const placement_status& p) {
  std::vector<uint32_t> histogram(1);
  for (size_t i = 0; i < size_t{p.layers} * p.experts_per_layer; ++i) {
    size_t n = 0;
    for (const auto& node : p.nodes)
      n += node.holds.test(i);
    if (n >= histogram.size())
      histogram.resize(n + 1);
    ++histogram[n];
  }
  return histogram;
}

/// A layer's experts: '#' held, '.' not.
json map_of(const placement_status& p, const node_placement& node) {
  json rows = json::array();
  for (uint32_t l = 0; l < p.layers; ++l) {
    std::string row(p.experts_per_layer, '.');
    for (uint32_t e = 0; e < p.experts_per_layer; ++e)
      if (node.holds.test(size_t{l} * p.experts_per_layer + e))
        row[e] = '#';
    rows.push_back(std::move(row));
  }
  return rows;
}

json node_json(const cluster_facts& f, const placement_status& p, size_t i, uint32_t depth) {
  const auto& n = p.nodes[i];
  const auto* m = member_of(f, n.id);
  json out{{"id", index(n.id)},
           {"name", n.name},
           {"key", n.id == this_node ? f.key
                   : m               ? m->key
                                     : ""},
           {"this", n.id == this_node},
           {"up", n.up},
           {"complete", n.complete},
           {"home", n.home},
           {"role", role_of(n)},
           {"draining", n.draining},
           {"room", n.room},
           {"holds", n.holds.count()},
           {"alone", held_alone(p, i)}};
  if (depth > 0)
    out["map"] = map_of(p, n);
  return out;
}

json option_json(const plan_option& o) {
  return {{"name", o.name},
          {"us_per_token", o.token_us},
          {"request_us", o.request_us},
          {"rounds_per_token", o.rounds},
          {"bytes_per_token", o.bytes}};
}

/// Experts that each node is to hold by plan, and what they fill.
json plan_nodes_json(const planning_status& p) {
  json out = json::array();
  for (size_t i = 0; i < p.plan.shares.size(); ++i) {
    auto experts = p.plan.shares[i].holds.count();
    out.push_back({{"name", i < p.names.size() ? p.names[i] : ""},
                   {"key", p.plan.shares[i].key},
                   {"experts", experts},
                   {"bytes", experts * p.expert_bytes}});
  }
  return out;
}

std::string name_of(const planning_status& p, const std::string& key) {
  for (size_t i = 0; i < std::min(p.names.size(), p.plan.shares.size()); ++i)
    if (p.plan.shares[i].key == key)
      return p.names[i];
  return {};
}

json stages_json(const planning_status& p) {
  json out = json::array();
  for (const auto& s : p.plan.stages)
    out.push_back({{"name", name_of(p, s.key)},
                   {"key", s.key},
                   {"first_layer", s.first},
                   {"layers", s.layers}});
  return out;
}

json plan_json(const planning_status& p) {
  json options = json::array(), promised = json::array();
  for (const auto& o : p.plan.options)
    options.push_back(option_json(o));
  for (const auto& m : p.promised)
    promised.push_back({{"home", m.home}, {"bytes", m.bytes}});
  json out{{"epoch", p.plan.epoch},
           {"planner", p.planner},
           {"state", p.state},
           {"note", p.note},
           {"why", p.plan.why},
           {"alone", p.plan.alone},
           {"chosen", option_json(p.plan.chosen)},
           {"options", options},
           {"nodes", plan_nodes_json(p)},
           {"memory", {{"capacity_bytes", p.capacity_bytes}, {"promised", promised}}}};
  if (!p.plan.stages.empty())
    out["stages"] = stages_json(p);
  if (p.token_us > 0)
    out["predicted"] = {
        {"us_per_token", p.token_us}, {"rounds_per_token", p.rounds}, {"bytes_per_token", p.bytes}};
  return out;
}

json placement_json(const cluster_facts& f, const placement_status& p, uint32_t depth) {
  json nodes = json::array();
  for (size_t i = 0; i < p.nodes.size(); ++i)
    nodes.push_back(node_json(f, p, i, depth));
  return {{"model", p.model},
          {"layers", p.layers},
          {"experts_per_layer", p.experts_per_layer},
          {"epoch", p.epoch},
          {"uncovered", p.uncovered},
          {"left", p.left},
          {"pool_bytes", p.pool_bytes},
          {"loading", p.loading},
          {"wanted", p.wanted},
          {"replicas", replicas_of(p)},
          {"plan", plan_json(p.planning)},
          {"nodes", nodes}};
}

// ---- network

json network_json(const cluster_facts& f, const model_network& n) {
  auto costs = token_costs_of(n.totals);
  json out{{"model", n.model},
           {"tokens", n.totals.rows},
           {"steps", n.totals.steps},
           {"rounds_per_token", costs.rounds},
           {"bytes_per_token", costs.bytes},
           {"us_per_token", costs.us},
           {"network_share", costs.network_share},
           {"repeats", n.totals.repeats}};
  if (costs.alone_us)
    out["alone_us_per_token"] = *costs.alone_us;
  const auto& t = n.totals;
  if (t.hops || t.refused)
    out["stages"] = {{"hops", t.hops},
                     {"away_us", t.stage_us},
                     {"moved_sessions", t.moved},
                     {"refused_sessions", t.refused}};
  if (t.rows_read || t.rows_away)
    out["rows"] = {{"here", t.rows_here}, {"away", t.rows_away}, {"read", t.rows_read}};
  if (n.totals.decode_steps) {
    out["decode_us"] = n.totals.decode_us;
    out["decode_rounds"] = n.totals.decode_rounds;
  }
  if (const auto* p = placement_of(f, n.model); p && p->planning.token_us > 0) {
    out["predicted_us"] = p->planning.token_us;
    out["predicted_rounds"] = p->planning.rounds;
  }
  if (const auto* p = placement_of(f, n.model))
    out["sessions_sent"] = p->planning.sessions_sent;
  if (auto advice = cluster_advice(n.totals, placement_of(f, n.model)); !advice.empty())
    out["advice"] = advice;
  return out;
}

json networks_json(const cluster_facts& f) {
  json out = json::array();
  for (const auto& n : f.network)
    out.push_back(network_json(f, n));
  return out;
}

std::string listed_nodes(const cluster_facts& f) {
  std::string out = f.name;
  for (const auto& m : *f.members)
    out += ", " + (m.name.empty() ? m.key : m.name);
  return out;
}

} // namespace

token_costs token_costs_of(const network_totals& t) {
  token_costs out;
  if (t.rows == 0)
    return out;
  auto rows = static_cast<double>(t.rows);
  out.rounds = static_cast<double>(t.rounds) / rows;
  out.bytes = static_cast<double>(t.wire_bytes) / rows;
  out.us = static_cast<double>(t.step_us) / rows;
  if (t.step_us)
    out.network_share = static_cast<double>(t.waited_us) / static_cast<double>(t.step_us);
  if (t.alone_us)
    out.alone_us =
        static_cast<double>(t.step_us - std::min(t.step_us, t.experts_us) + t.alone_us) / rows;
  return out;
}

std::string cluster_advice(const network_totals& t, const placement_status* p) {
  constexpr uint64_t fewest_steps = 32; // the first ones also fetch weights into the caches
  constexpr double margin = 0.95;
  auto costs = token_costs_of(t);
  if (t.rounds == 0 || t.steps < fewest_steps || !costs.alone_us ||
      *costs.alone_us > margin * costs.us)
    return {};
  auto us = [](double x) { return std::to_string(std::llround(x)) + " us"; };
  auto out = "this machine alone would take " + us(*costs.alone_us) +
             " a token, by prediction, instead of " + us(costs.us) + " with its neighbours";
  if (!p || p->nodes.empty())
    return out + ": start it without --cluster, if its memory holds the model";
  auto all = uint64_t{p->layers} * p->experts_per_layer;
  auto room = p->nodes.front().room;
  if (room >= all)
    return out + ": start it without --cluster";
  return out + ", but has room for " + std::to_string(room) + " of " + std::to_string(all) +
         " experts only: more memory (--ram) would help more than more machines";
}

uint32_t held_alone(const placement_status& p, size_t node) {
  uint32_t n = 0;
  for (size_t i = 0; i < size_t{p.layers} * p.experts_per_layer; ++i) {
    bool elsewhere = false;
    for (size_t k = 0; k < p.nodes.size() && !elsewhere; ++k)
      elsewhere = k != node && !p.nodes[k].draining && p.nodes[k].holds.test(i);
    n += p.nodes[node].holds.test(i) && !elsewhere;
  }
  return n;
}

std::string cluster_json(const cluster_facts& f, uint32_t depth) {
  json placement = json::array();
  for (const auto& p : f.placement)
    placement.push_back(placement_json(f, p, depth));
  return text_of({{"node", this_json(f)},
                  {"hello", hello_json(f)},
                  {"refused", refused_json(f)},
                  {"links", links_json(f)},
                  {"placement", placement},
                  {"network", networks_json(f)}});
}

json cluster_summary(const cluster_facts& f) {
  json links = json::array(), placement = json::array();
  size_t up = 1, nodes_known = 1;
  for (const auto& l : f.links) {
    up += l.state == "up";
    nodes_known += index(l.id) != 0; // else a configured peer that never answered
    links.push_back({{"name", name_of(l)},
                     {"state", state_of(l)},
                     {"why", l.state == "up" ? "" : l.why},
                     {"round_trip_us", l.round_trip_us},
                     {"goodput_bytes_s", l.goodput_bytes_s}});
  }
  for (const auto& p : f.placement) {
    json nodes = json::array();
    for (size_t i = 0; i < p.nodes.size(); ++i)
      nodes.push_back({{"name", p.nodes[i].name},
                       {"up", p.nodes[i].up},
                       {"role", role_of(p.nodes[i])},
                       {"draining", p.nodes[i].draining},
                       {"holds", p.nodes[i].holds.count()},
                       {"alone", held_alone(p, i)}});
    placement.push_back({{"model", p.model},
                         {"experts", p.layers * p.experts_per_layer},
                         {"uncovered", p.uncovered},
                         {"left", p.left},
                         {"plan",
                          {{"epoch", p.planning.plan.epoch},
                           {"name", p.planning.plan.chosen.name},
                           {"planner", p.planning.planner},
                           {"alone", p.planning.plan.alone},
                           {"why", p.planning.plan.why},
                           {"note", p.planning.note}}},
                         {"nodes", nodes}});
  }
  return {{"name", f.name},
          {"key", f.key},
          {"nodes", nodes_known},
          {"up", up},
          {"links", links},
          {"placement", placement},
          {"refused", refused_json(f)},
          {"network", networks_json(f)}};
}

std::map<node_id, std::string> node_names(const members_ptr& members) {
  std::map<node_id, std::string> out;
  if (members)
    for (const auto& m : *members)
      out[m.id] = m.name.empty() ? m.endpoint : m.name;
  return out;
}

result<named_node> find_node(const cluster_facts& f, const std::string& said) {
  if (said.empty() || said == f.key)
    return named_node{true, f.key, f.name, {}};
  if (!f.members)
    return {ec::shutting_down, "the node leaves its cluster"};
  std::vector<named_node> found;
  if (said == f.name)
    found.push_back({true, f.key, f.name, {}});
  for (const auto& m : *f.members) {
    if (m.key == said && m.up)
      return named_node{false, m.key, m.name, m.link};
    if (m.key != said && m.name != said)
      continue;
    auto same =
        std::find_if(found.begin(), found.end(), [&](const auto& n) { return n.key == m.key; });
    if (same == found.end()) // a node may have a second link for a moment
      found.push_back({false, m.key, m.name, m.link});
    else if (m.up)
      same->link = m.link;
  }
  if (found.size() == 1)
    return found.front();
  if (found.empty())
    return {ec::bad_argument, "no node is called '" + said + "'; there are: " + listed_nodes(f)};
  std::string keys;
  for (const auto& n : found)
    keys += (keys.empty() ? "" : ", ") + n.key;
  return {ec::bad_argument,
          "several nodes are called '" + said + "': give the key of one of them: " + keys};
}

} // namespace coel::actors
