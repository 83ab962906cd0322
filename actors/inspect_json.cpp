#include "actors/inspect_json.hpp"

#include <nlohmann/json.hpp>

#include <sstream>

namespace coel::actors {

using nlohmann::json;

namespace {

json tier_json(const tier_status& t, const char* name_key) {
  return {{name_key, t.name}, {"budget_bytes", t.budget_bytes}, {"used_bytes", t.used_bytes},
          {"weights_bytes", t.weights_bytes}, {"kv_bytes", t.kv_bytes}, {"buffer_bytes", t.buffer_bytes}};
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
  return {{"name", m.model->name}, {"family", c.family}, {"layers", c.layers}, {"experts", c.experts},
          {"top_k", c.top_k}, {"context", c.context}, {"bytes", m.bytes},
          {"kv", {{"pages", s.pages}, {"pages_used", s.pages_used}, {"page_tokens", s.page_tokens},
                  {"bytes", s.page_bytes * s.pages}}},
          {"sessions", s.sessions.size() - s.queued}, {"queued", s.queued}};
}

} // namespace

std::string status_json(const node_facts& node, const std::vector<model_facts>& models, const std::vector<tier_status>& tiers) {
  json list = json::array();
  uint64_t in = 0, out = 0;
  for (const auto& m : models) {
    list.push_back(model_json(m));
    in += m.scheduler.tokens_in;
    out += m.scheduler.tokens_out;
  }
  return json{{"node", {{"version", node.version}, {"uptime_s", node.uptime_s}, {"device", node.device},
                        {"threads", node.threads}, {"draining", node.draining}}},
              {"models", list},
              {"memory", tiers_json(tiers, "tier")},
              {"totals", {{"requests", node.requests}, {"tokens_in", in}, {"tokens_out", out}, {"errors", node.errors}}}}
      .dump();
}

std::string actors_json(const std::vector<component_status>& actors) {
  json list = json::array();
  for (const auto& a : actors)
    list.push_back({{"name", a.name}, {"model", a.model}, {"count", 1}, {"mailbox", a.mailbox},
                    {"messages", a.messages}, {"busy_us", a.busy_us}});
  return json{{"actors", list}}.dump();
}

std::string experts_json(const model_facts& m, const std::vector<expert_status>& experts) {
  const auto& c = m.model->config();
  std::vector<json> layers(c.layers, json::array());
  for (const auto& e : experts) {
    bool shared = index(e.key.expert) >= c.experts;
    double popularity = shared ? 1.0 : m.scheduler.popularity[index(e.key.layer)][index(e.key.expert)];
    layers[index(e.key.layer)].push_back({{"id", index(e.key.expert)}, {"shared", shared}, {"rows", e.rows},
                                          {"popularity", popularity}, {"residency", e.residency},
                                          {"type", to_string(e.type)}, {"bytes", e.bytes}});
  }
  json list = json::array();
  for (size_t l = 0; l < layers.size(); ++l)
    list.push_back({{"layer", l}, {"experts", layers[l]}});
  return json{{"model", m.model->name}, {"tokens", m.scheduler.routed_tokens}, {"layers", list}}.dump();
}

std::string sessions_json(const std::vector<model_facts>& models) {
  json list = json::array();
  for (const auto& m : models)
    for (const auto& s : m.scheduler.sessions)
      list.push_back({{"request", index(s.id)}, {"model", m.model->name}, {"state", s.state},
                      {"prompt_tokens", s.prompt_tokens}, {"answer_tokens", s.answer_tokens},
                      {"tokens_per_s", s.tokens_per_s}, {"kv_pages", s.kv_pages}, {"age_ms", s.age_ms}});
  return json{{"sessions", list}}.dump();
}

std::string memory_json(const std::vector<tier_status>& tiers) {
  return json{{"tiers", tiers_json(tiers, "name")}}.dump();
}

std::string trace_json(request_id request, const std::vector<token_trace>& tokens) {
  json list = json::array();
  for (const auto& t : tokens) {
    json hops = json::array();
    for (const auto& h : t.hops)
      hops.push_back({{"actor", h.actor}, {"layer", h.layer}, {"at_us", h.at_us}, {"took_us", h.took_us}});
    list.push_back({{"index", t.index}, {"total_us", t.total_us}, {"hops", hops}});
  }
  return json{{"request", index(request)}, {"tokens", list}}.dump();
}

std::string metrics_json(const node_facts& node, const std::vector<model_facts>& models, const std::vector<tier_status>& tiers) {
  std::ostringstream out;
  auto metric = [&](const char* name, const char* kind, const char* help) {
    out << "# HELP " << name << " " << help << "\n# TYPE " << name << " " << kind << "\n";
  };
  metric("coel_requests_total", "counter", "Requests accepted or refused since start.");
  out << "coel_requests_total " << node.requests << "\n";
  metric("coel_errors_total", "counter", "Requests that ended in an error.");
  out << "coel_errors_total " << node.errors << "\n";
  metric("coel_prompt_tokens_total", "counter", "Prompt tokens admitted.");
  for (const auto& m : models)
    out << "coel_prompt_tokens_total{model=" << json(m.model->name) << "} " << m.scheduler.tokens_in << "\n";
  metric("coel_answer_tokens_total", "counter", "Tokens drawn.");
  for (const auto& m : models)
    out << "coel_answer_tokens_total{model=" << json(m.model->name) << "} " << m.scheduler.tokens_out << "\n";
  metric("coel_sessions", "gauge", "Sessions running or queued.");
  for (const auto& m : models)
    out << "coel_sessions{model=" << json(m.model->name) << "} " << m.scheduler.sessions.size() << "\n";
  metric("coel_kv_pages_used", "gauge", "KV pages that sessions hold.");
  for (const auto& m : models)
    out << "coel_kv_pages_used{model=" << json(m.model->name) << "} " << m.scheduler.pages_used << "\n";
  metric("coel_tier_used_bytes", "gauge", "Bytes of a memory tier in use.");
  for (const auto& t : tiers)
    out << "coel_tier_used_bytes{tier=" << json(t.name) << "} " << t.used_bytes << "\n";
  return json{{"text", out.str()}}.dump();
}

} // namespace coel::actors
