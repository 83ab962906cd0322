#include "actors/inspect_json.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace coel::actors {

using nlohmann::json;

namespace {

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

json layer_tiering_json(const layer_tiering& l) {
  return {{"here", l.here},
          {"hits", l.hits},
          {"foreseen", l.foreseen},
          {"late", l.late},
          {"misses", l.misses},
          {"lower", l.lower},
          {"reads_ahead", l.reads_ahead},
          {"precision", l.precision},
          {"recall", l.recall},
          {"recall_of_popular", l.recall_of_popular}};
}

/// Means over the layers: what it knew, and what that was worth.
json predictor_json(const tiering_status& t) {
  std::vector<double> recall;
  double popular = 0, precision = 0;
  uint64_t on = 0;
  auto layers = static_cast<double>(std::max<size_t>(t.layers.size(), 1));
  for (const auto& l : t.layers) {
    recall.resize(std::max(recall.size(), l.recall.size()));
    for (size_t a = 0; a < l.recall.size(); ++a)
      recall[a] += l.recall[a] / layers;
    popular += l.recall_of_popular / layers;
    precision += l.precision / layers;
    on += l.reads_ahead;
  }
  return {{"recall", recall},
          {"recall_of_popular", popular},
          {"precision", precision},
          {"layers_on", on},
          {"saved_us", t.saved_us},
          {"predict_us", t.predict_us},
          {"predict_us_per_token",
           t.tokens ? static_cast<double>(t.predict_us) / static_cast<double>(t.tokens) : 0.0}};
}

/// Of a model whose experts do not all fit. "hit_rate" counts uses that waited for nothing.
json tiering_json(const tiering_status& t) {
  json j{{"model", t.model},
         {"experts", t.experts},
         {"here", t.here},
         {"cache_bytes", t.cache_bytes},
         {"cache_used_bytes", t.cache_used_bytes},
         {"staging_bytes", t.staging_bytes},
         {"read_bytes", t.read_bytes},
         {"read_ahead_bytes", t.read_ahead_bytes},
         {"wasted_bytes", t.wasted_bytes},
         {"failed_reads", t.failed_reads},
         {"disk_bytes_per_s", t.disk_bytes_per_s},
         {"demand_us", t.demand_us},
         {"reader", t.reader}};
  uint64_t found = 0, all = 0, lower = 0;
  for (const auto& l : t.layers) {
    j["layers"].push_back(layer_tiering_json(l));
    found += l.hits + l.foreseen;
    all += l.hits + l.foreseen + l.late + l.misses + l.lower;
    lower += l.lower;
  }
  auto per = [](uint64_t a, uint64_t b) {
    return b ? static_cast<double>(a) / static_cast<double>(b) : 0.0;
  };
  j["hit_rate"] = per(found, all);
  if (!t.lower_type.empty())
    j["lower_precision"] = {{"type", t.lower_type},
                            {"copies", t.lower_copies},
                            {"bytes", t.lower_bytes},
                            {"uses", lower},
                            {"share", per(lower, all)},
                            {"rows", t.lower_rows},
                            {"row_share", per(t.lower_rows, t.rows)}};
  j["tokens"] = t.tokens;
  j["read_bytes_per_token"] = per(t.read_bytes, t.tokens);
  j["decode"] = {{"token_us", t.token_us},
                 {"compute_us", t.compute_us},
                 {"predicted_token_us", t.predicted_token_us},
                 {"predicted_hit_rate", t.predicted_hit_rate}};
  j["predictor"] = predictor_json(t);
  return j;
}

json tier_json(const tier_status& t, const char* name_key) {
  json j{{name_key, t.name},           {"budget_bytes", t.budget_bytes},
         {"used_bytes", t.used_bytes}, {"weights_bytes", t.weights_bytes},
         {"kv_bytes", t.kv_bytes},     {"buffer_bytes", t.buffer_bytes}};
  for (const auto& m : t.models)
    j["models"].push_back(tiering_json(m));
  return j;
}

json tiers_json(const std::vector<tier_status>& tiers, const char* name_key) {
  json list = json::array();
  for (const auto& t : tiers)
    list.push_back(tier_json(t, name_key));
  return list;
}

json model_json(const model_facts& m) {
  const auto& c = m.model->config();
  const auto& s = m.scheduler;
  return {{"name", m.model->name},
          {"family", c.family},
          {"layers", c.layers},
          {"experts", c.experts},
          {"top_k", c.top_k},
          {"context", c.context},
          {"bytes", m.bytes},
          {"role", m.home ? "home" : "helper"},
          {"why", m.no_home},
          {"kv",
           {{"pages", s.pages},
            {"pages_used", s.pages_used},
            {"page_tokens", s.page_tokens},
            {"bytes", s.page_bytes * s.pages}}},
          {"stall_us", s.network.stall_us},
          {"sessions", s.sessions.size() - s.queued},
          {"queued", s.queued}};
}

/// Several actors as one entry; the mailbox is the deepest of them.
class sum_of {
 public:
  sum_of(std::string name, std::string model) {
    sum_.name = std::move(name), sum_.model = std::move(model);
  }

  template <class Status> // component_status or expert_status
  sum_of& with(const Status& one) {
    ++count_;
    sum_.messages += one.messages;
    sum_.busy_us += one.busy_us;
    sum_.mailbox = std::max(sum_.mailbox, one.mailbox);
    return *this;
  }
  nlohmann::json json() const {
    return {{"name", sum_.name},       {"model", sum_.model},       {"count", count_},
            {"mailbox", sum_.mailbox}, {"messages", sum_.messages}, {"busy_us", sum_.busy_us}};
  }
  bool empty() const { return count_ == 0; }

 private:
  component_status sum_;
  uint32_t count_ = 0;
};

void add(json& list, const sum_of& sum) {
  if (!sum.empty())
    list.push_back(sum.json());
}

void add_layer(json& list, const model_actors& m, size_t l, bool each_expert) {
  const auto& layer = m.layers[l];
  if (layer.gate)
    add(list, sum_of("gate " + std::to_string(l), m.model).with(*layer.gate));
  sum_of all("experts " + std::to_string(l), m.model);
  for (const auto& e : layer.experts) {
    all.with(e);
    if (each_expert)
      add(list, sum_of("expert " + to_string(e.key), m.model).with(e));
  }
  if (!each_expert)
    add(list, all);
}

void add_model_actors(json& list, const model_actors& m, actor_depth depth) {
  if (m.scheduler)
    add(list, sum_of("scheduler", m.model).with(*m.scheduler));
  if (depth != actor_depth::kinds) {
    for (size_t l = 0; l < m.layers.size(); ++l)
      add_layer(list, m, l, depth == actor_depth::experts);
    return;
  }
  sum_of gates("gates", m.model), experts("experts", m.model);
  for (const auto& layer : m.layers) {
    if (layer.gate)
      gates.with(*layer.gate);
    for (const auto& e : layer.experts)
      experts.with(e);
  }
  add(list, gates);
  add(list, experts);
}

/// A scheduler that did not answer has no popularity to tell.
double popularity_of(const scheduler_status& s, expert_key key) {
  auto layer = index(key.layer), expert = index(key.expert);
  return layer < s.popularity.size() && expert < s.popularity[layer].size()
             ? s.popularity[layer][expert]
             : 0;
}

} // namespace

std::string status_json(const node_facts& node, const std::vector<model_facts>& models,
                        const std::vector<tier_status>& tiers, const cluster_facts* cluster) {
  json list = json::array();
  uint64_t in = 0, out = 0;
  for (const auto& m : models) {
    list.push_back(model_json(m));
    in += m.scheduler.tokens_in;
    out += m.scheduler.tokens_out;
  }
  json document({{"node",
                  {{"version", node.version},
                   {"uptime_s", static_cast<uint64_t>(node.uptime_s)},
                   {"device", node.device},
                   {"threads", node.threads},
                   {"draining", node.draining}}},
                 {"models", list},
                 {"memory", tiers_json(tiers, "tier")},
                 {"totals",
                  {{"requests", node.requests},
                   {"tokens_in", in},
                   {"tokens_out", out},
                   {"errors", node.errors}}}});
  if (node.card)
    document["card"] = card_json(*node.card, node.uptime_s);
  if (cluster)
    document["cluster"] = cluster_summary(*cluster);
  return text_of(document);
}

std::string actors_json(const node_actors& actors, actor_depth depth) {
  json list = json::array();
  for (const auto& m : actors.models)
    add_model_actors(list, m, depth);
  for (const auto& a : actors.others)
    if (!a.name.empty()) // else it did not answer
      add(list, sum_of(a.name, a.model).with(a));
  json devices = json::array();
  for (const auto& d : actors.devices)
    devices.push_back({{"name", d.name},
                       {"threads", d.threads},
                       {"queued", d.queue_depth},
                       {"lists", d.lists_run},
                       {"busy_us", d.busy_us},
                       {"resident_bytes", d.resident_bytes}});
  return text_of({{"actors", list}, {"devices", devices}});
}

std::string experts_json(const model_facts& m, const std::vector<expert_status>& experts) {
  const auto& c = m.model->config();
  std::vector<json> layers(c.layers, json::array());
  for (const auto& e : experts) {
    bool shared = index(e.key.expert) >= c.experts;
    double popularity = shared ? 1.0 : popularity_of(m.scheduler, e.key);
    layers[index(e.key.layer)].push_back({{"id", index(e.key.expert)},
                                          {"shared", shared},
                                          {"rows", e.rows},
                                          {"popularity", popularity},
                                          {"residency", e.residency},
                                          {"type", to_string(e.type)},
                                          {"bytes", e.bytes}});
  }
  json list = json::array();
  for (size_t l = 0; l < layers.size(); ++l)
    list.push_back({{"layer", l}, {"experts", layers[l]}});
  return text_of({{"model", m.model->name},
                  {"tokens", m.scheduler.routed_tokens},
                  {"top_k", c.top_k},
                  {"layers", list}});
}

std::string sessions_json(const std::vector<model_facts>& models) {
  json list = json::array();
  for (const auto& m : models)
    for (const auto& s : m.scheduler.sessions)
      list.push_back({{"request", index(s.id)},
                      {"model", m.model->name},
                      {"state", s.state},
                      {"prompt_tokens", s.prompt_tokens},
                      {"answer_tokens", s.answer_tokens},
                      {"tokens_per_s", s.tokens_per_s},
                      {"kv_pages", s.kv_pages},
                      {"age_ms", s.age_ms}});
  return text_of({{"sessions", list}});
}

std::string memory_json(const std::vector<model_facts>& models,
                        const std::vector<tier_status>& tiers) {
  json list = json::array();
  for (const auto& m : models) {
    const auto& s = m.scheduler;
    list.push_back({{"name", m.model->name},
                    {"weights_bytes", m.bytes},
                    {"kv_bytes", s.page_bytes * s.pages},
                    {"kv_used_bytes", s.page_bytes * s.pages_used}});
  }
  return text_of({{"tiers", tiers_json(tiers, "name")}, {"models", list}});
}

namespace {

/// A node that left keeps its number only.
std::string name_in(const std::map<node_id, std::string>& names, node_id node) {
  auto found = names.find(node);
  return found == names.end() ? "node " + std::to_string(index(node)) : found->second;
}

} // namespace

std::string trace_json(const request_trace& trace) {
  json list = json::array();
  for (const auto& t : trace.tokens) {
    json hops = json::array();
    for (const auto& h : place_hops(t)) {
      hops.push_back(
          {{"actor", h.actor}, {"work", h.work}, {"at_us", h.at_us}, {"took_us", h.took_us}});
      if (h.layer)
        hops.back()["layer"] = *h.layer;
      if (h.node != this_node)
        hops.back().update({{"node", name_in(trace.nodes, h.node)}, {"there_us", h.there_us}});
    }
    list.push_back({{"index", t.index}, {"total_us", t.total_us}, {"hops", hops}});
  }
  return text_of(
      {{"request", index(trace.request)},
       {"model", trace.model},
       {"tokens", list},
       {"socket", {{"messages", trace.socket.messages}, {"busy_us", trace.socket.busy_us}}}});
}

} // namespace coel::actors
