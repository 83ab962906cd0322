#include "actors/inspect_cluster.hpp"
#include "actors/inspect_json.hpp"

#include <nlohmann/json.hpp>

#include <sstream>

namespace coel::actors {

using nlohmann::json;

namespace {

std::string quoted(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Metrics one after another, each with its samples together, as the format wants.
class exposition {
 public:
  exposition& metric(const char* name, const char* kind, const char* help) {
    name_ = name;
    out_ << "# HELP " << name << " " << help << "\n# TYPE " << name << " " << kind << "\n";
    return *this;
  }
  template <class Value>
  exposition& sample(const std::string& labels, Value value) {
    out_ << name_ << (labels.empty() ? "" : "{" + labels + "}") << " " << value << "\n";
    return *this;
  }
  std::string text() const { return out_.str(); }

 private:
  const char* name_ = "";
  std::ostringstream out_;
};

std::string model_label(const std::string& name) {
  return "model=" + quoted(name);
}

std::string link_label(const link_status& l) {
  return "node=" + quoted(l.name) + ",endpoint=" + quoted(l.endpoint);
}

/// One metric of all links.
template <class Value>
void of_links(exposition& out, const cluster_facts& f, const char* name, const char* kind,
              const char* help, Value value) {
  out.metric(name, kind, help);
  for (const auto& l : f.links)
    out.sample(link_label(l), value(l));
}

void refusal_metrics(exposition& out, const cluster_facts& f) {
  out.metric("coel_refused_peers_total", "counter", "Who wanted to connect and was not let in.");
  for (size_t i = 0; i < net::refusal_kinds; ++i)
    out.sample("why=" + quoted(std::string(net::to_string(static_cast<net::refusal>(i)))),
               f.refused[i]);
}

void link_metrics(exposition& out, const cluster_facts& f) {
  of_links(out, f, "coel_link_up", "gauge", "1 while the neighbour answers.",
           [](const link_status& l) { return l.state == "up" ? 1 : 0; });
  of_links(out, f, "coel_link_round_trip_seconds", "gauge",
           "Smoothed round trip of an empty frame.",
           [](const link_status& l) { return l.round_trip_us / 1e6; });
  of_links(out, f, "coel_link_goodput_bytes_per_second", "gauge",
           "Of blocks of files; 0: not measured.",
           [](const link_status& l) { return l.goodput_bytes_s; });
  of_links(out, f, "coel_link_waiting", "gauge", "Dispatches without an answer yet.",
           [](const link_status& l) { return l.waiting; });
  of_links(out, f, "coel_link_sent_bytes_total", "counter", "Bytes of frames sent.",
           [](const link_status& l) { return l.counts.bytes_out; });
  of_links(out, f, "coel_link_received_bytes_total", "counter", "Bytes of frames received.",
           [](const link_status& l) { return l.counts.bytes_in; });
  of_links(out, f, "coel_link_dispatches_total", "counter", "Dispatches asked of the neighbour.",
           [](const link_status& l) { return l.counts.dispatches; });
  of_links(out, f, "coel_link_late_total", "counter",
           "Dispatches given up, as no answer came in time.",
           [](const link_status& l) { return l.counts.late; });
  of_links(out, f, "coel_link_failed_total", "counter",
           "Dispatches answered by an error, or lost with the link.",
           [](const link_status& l) { return l.counts.failed; });
  of_links(out, f, "coel_link_bad_frames_total", "counter", "Frames that were refused.",
           [](const link_status& l) { return l.counts.bad_frames; });
  of_links(out, f, "coel_link_losses_total", "counter", "Times that the link went down.",
           [](const link_status& l) { return l.counts.times_down; });
}

/// One metric of all models of which something is placed, or whose network is known.
template <class List, class Value>
void of_models(exposition& out, const List& list, const char* name, const char* kind,
               const char* help, Value value) {
  out.metric(name, kind, help);
  for (const auto& m : list)
    out.sample(model_label(m.model), value(m));
}

void placement_metrics(exposition& out, const cluster_facts& f) {
  using p = placement_status;
  of_models(out, f.placement, "coel_experts_uncovered", "gauge", "Experts that no node holds.",
            [](const p& m) { return m.uncovered; });
  of_models(out, f.placement, "coel_experts_left", "gauge",
            "Experts that no node is to hold: homes read them.", [](const p& m) { return m.left; });
  of_models(out, f.placement, "coel_pool_bytes", "gauge",
            "Of this node's memory, for what it reads.", [](const p& m) { return m.pool_bytes; });
  of_models(out, f.placement, "coel_experts_loading", "gauge", "Experts on their way to this node.",
            [](const p& m) { return m.loading; });
  of_models(out, f.placement, "coel_experts_wanted", "gauge",
            "Experts that this node should hold and does not yet.",
            [](const p& m) { return m.wanted; });
  out.metric("coel_experts_held", "gauge", "Experts that a node holds.");
  for (const auto& m : f.placement)
    for (const auto& n : m.nodes)
      out.sample(model_label(m.model) + ",node=" + quoted(n.name), n.holds.count());
  out.metric("coel_experts_held_alone", "gauge",
             "Experts that a node holds and no other that stays.");
  for (const auto& m : f.placement)
    for (size_t i = 0; i < m.nodes.size(); ++i)
      out.sample(model_label(m.model) + ",node=" + quoted(m.nodes[i].name), held_alone(m, i));
}

void network_metrics(exposition& out, const cluster_facts& f) {
  using n = model_network;
  of_models(out, f.network, "coel_step_seconds_total", "counter", "Time of the model's steps.",
            [](const n& m) { return static_cast<double>(m.totals.step_us) / 1e6; });
  of_models(out, f.network, "coel_network_wait_seconds_total", "counter",
            "Part of the steps that only waited for neighbours.",
            [](const n& m) { return static_cast<double>(m.totals.waited_us) / 1e6; });
  of_models(out, f.network, "coel_network_rounds_total", "counter",
            "Layers of steps that needed a neighbour.", [](const n& m) { return m.totals.rounds; });
  of_models(out, f.network, "coel_network_bytes_total", "counter", "Bytes for steps, both ways.",
            [](const n& m) { return m.totals.wire_bytes; });
  of_models(out, f.network, "coel_network_repeats_total", "counter",
            "Dispatches sent again after a failure.", [](const n& m) { return m.totals.repeats; });
  out.metric("coel_expert_rows_total", "counter",
             "Rows of experts, by what answered them: this node's memory, a neighbour, its disk.");
  for (const auto& m : f.network)
    out.sample(model_label(m.model) + ",by=" + quoted("memory"), m.totals.rows_here)
        .sample(model_label(m.model) + ",by=" + quoted("neighbour"), m.totals.rows_away)
        .sample(model_label(m.model) + ",by=" + quoted("disk"), m.totals.rows_read);
}

/// Of models whose experts do not all fit: one metric of all of them.
template <class Value>
void of_tiered(exposition& out, const std::vector<tier_status>& tiers, const char* name,
               const char* kind, const char* help, Value value) {
  out.metric(name, kind, help);
  for (const auto& t : tiers)
    for (const auto& m : t.models)
      out.sample("tier=" + quoted(t.name) + "," + model_label(m.model), value(m));
}

void expert_uses(exposition& out, const std::vector<tier_status>& tiers) {
  out.metric("coel_expert_uses_total", "counter",
             "Uses of experts by steps: found in memory, found because read ahead, under way for "
             "that reason, missed, or run as a copy of fewer bits.");
  for (const auto& t : tiers)
    for (const auto& m : t.models)
      for (size_t l = 0; l < m.layers.size(); ++l) {
        auto label = "tier=" + quoted(t.name) + "," + model_label(m.model) +
                     ",layer=" + quoted(std::to_string(l)) + ",as=";
        out.sample(label + quoted("hit"), m.layers[l].hits)
            .sample(label + quoted("foreseen"), m.layers[l].foreseen)
            .sample(label + quoted("late"), m.layers[l].late)
            .sample(label + quoted("miss"), m.layers[l].misses)
            .sample(label + quoted("lower"), m.layers[l].lower);
      }
}

void tiering_metrics(exposition& out, const std::vector<tier_status>& tiers) {
  using s = tiering_status;
  expert_uses(out, tiers);
  of_tiered(out, tiers, "coel_experts_here", "gauge", "Experts in this tier.",
            [](const s& m) { return m.here; });
  of_tiered(out, tiers, "coel_expert_read_bytes_total", "counter", "Read from disk.",
            [](const s& m) { return m.read_bytes; });
  of_tiered(out, tiers, "coel_expert_read_ahead_bytes_total", "counter",
            "Part of it that was read ahead.", [](const s& m) { return m.read_ahead_bytes; });
  of_tiered(out, tiers, "coel_expert_wasted_bytes_total", "counter",
            "Part of it that was read for nothing.", [](const s& m) { return m.wasted_bytes; });
  of_tiered(out, tiers, "coel_expert_read_failures_total", "counter", "Experts not read.",
            [](const s& m) { return m.failed_reads; });
  of_tiered(out, tiers, "coel_lower_precision_copies", "gauge",
            "Experts that have a copy of fewer bits in memory.",
            [](const s& m) { return m.lower_copies; });
  of_tiered(out, tiers, "coel_lower_precision_rows_total", "counter",
            "Rows of experts that ran through such a copy.",
            [](const s& m) { return m.lower_rows; });
  of_tiered(out, tiers, "coel_disk_bytes_per_second", "gauge", "While something was read.",
            [](const s& m) { return m.disk_bytes_per_s; });
  of_tiered(out, tiers, "coel_prediction_saved_seconds", "gauge",
            "Waiting that reading ahead saved, less what reading for nothing cost.",
            [](const s& m) { return m.saved_us / 1e6; });
  of_tiered(out, tiers, "coel_prediction_seconds_total", "counter", "Predicting and learning.",
            [](const s& m) { return static_cast<double>(m.predict_us) / 1e6; });
  of_tiered(out, tiers, "coel_decode_token_seconds", "gauge",
            "Of a sequence that decodes alone, lately.",
            [](const s& m) { return m.token_us / 1e6; });
  of_tiered(out, tiers, "coel_decode_token_predicted_seconds", "gauge",
            "The same by what is known of disk, popularity and computation.",
            [](const s& m) { return m.predicted_token_us / 1e6; });
}

} // namespace

std::string cluster_metrics(const cluster_facts& f) {
  exposition out;
  refusal_metrics(out, f);
  link_metrics(out, f);
  placement_metrics(out, f);
  network_metrics(out, f);
  return out.text();
}

namespace {

void add_card(exposition& out, const card_facts& card) {
  std::string last;
  for (const auto& m : card_metrics(card)) {
    if (std::exchange(last, m.name) != m.name)
      out.metric(m.name, m.kind, m.help);
    out.sample(m.model.empty() ? "" : model_label(m.model), m.value);
  }
}

} // namespace

std::string metrics_json(const node_facts& node, const std::vector<model_facts>& models,
                         const std::vector<tier_status>& tiers, const cluster_facts* cluster) {
  exposition out;
  auto each_model = [&](auto value) {
    for (const auto& m : models)
      out.sample(model_label(m.model->name), value(m));
  };
  out.metric("coel_requests_total", "counter", "Requests accepted or refused since start.")
      .sample("", node.requests);
  out.metric("coel_errors_total", "counter", "Requests that ended in an error.")
      .sample("", node.errors);
  out.metric("coel_prompt_tokens_total", "counter", "Prompt tokens admitted.");
  each_model([](const model_facts& m) { return m.scheduler.tokens_in; });
  out.metric("coel_answer_tokens_total", "counter", "Tokens drawn.");
  each_model([](const model_facts& m) { return m.scheduler.tokens_out; });
  out.metric("coel_sessions", "gauge", "Sessions running or queued.");
  each_model([](const model_facts& m) { return m.scheduler.sessions.size(); });
  out.metric("coel_kv_pages_used", "gauge", "KV pages that sessions hold.");
  each_model([](const model_facts& m) { return m.scheduler.pages_used; });
  out.metric("coel_tier_used_bytes", "gauge", "Bytes of a memory tier in use.");
  for (const auto& t : tiers)
    out.sample("tier=" + quoted(t.name), t.used_bytes);
  out.metric("coel_expert_stall_seconds_total", "counter",
             "Time in which steps only waited for experts to be read.");
  each_model(
      [](const model_facts& m) { return static_cast<double>(m.scheduler.network.stall_us) / 1e6; });
  tiering_metrics(out, tiers);
  if (node.card)
    add_card(out, *node.card);
  json document{{"text", out.text() + (cluster ? cluster_metrics(*cluster) : "")}};
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace coel::actors
