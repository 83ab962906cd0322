#include "actors/inspector.hpp"

#include "actors/errors.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <set>

namespace coel::actors {

namespace {

using self_ptr = inspector_actor::stateful_pointer<inspector_state>;
using text_promise = caf::typed_response_promise<std::string>;

/// Collects the answers of several actors. An actor that fails is left out.
class gathering {
 public:
  explicit gathering(std::function<void()> done) : done_(std::move(done)) {}

  void asked() { ++due_; }
  /// Of one question; and once after the first of them are asked, which may be none. The last runs
  /// `done`.
  void over() {
    if (--due_ == 0)
      done_();
  }

 private:
  std::function<void()> done_;
  size_t due_ = 1;
};
using gathering_ptr = std::shared_ptr<gathering>;

/// Asks `whom`; the answer goes to `take`, which may ask on.
template <class Answer, class Whom, class Take, class... Question>
void ask(self_ptr self, const gathering_ptr& until, const Whom& whom, Take take,
         Question... question) {
  until->asked();
  self->request(whom, caf::infinite, question...)
      .then(
          [until, take](Answer& answer) {
            take(std::move(answer));
            until->over();
          },
          [until](caf::error&) { until->over(); });
}

struct picture {
  node_facts node;
  std::vector<model_facts> models;
  std::vector<tier_status> tiers;
  node_actors actors;
};
using picture_ptr = std::shared_ptr<picture>;

app_socket_actor socket_of(const inspector_state& st) {
  auto socket = caf::actor_cast<caf::strong_actor_ptr>(st.socket);
  return socket ? caf::actor_cast<app_socket_actor>(socket) : app_socket_actor{};
}

/// What most documents need: totals, schedulers, tiers.
void gather(self_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  const auto& config = self->state.config;
  p->node = config.facts;
  p->node.uptime_s = static_cast<double>(us_between(config.started, steady::now())) / 1e6;
  p->models.resize(config.models.size());
  p->tiers.resize(config.tiers.size());
  for (size_t i = 0; i < config.models.size(); ++i) {
    p->models[i].model = config.models[i].model;
    p->models[i].bytes = config.models[i].bytes;
    ask<scheduler_status>(
        self, until, config.models[i].scheduler,
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

/// A gate passes the question for its experts on, so it is asked for its own status first: a
/// question that waits behind another would count as its mailbox.
void gather_layer(self_ptr self, const picture_ptr& p, const gathering_ptr& until, size_t model,
                  size_t layer) {
  auto gate = self->state.config.models[model].gates[layer];
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

void gather_model(self_ptr self, const picture_ptr& p, const gathering_ptr& until, size_t model) {
  const auto& m = self->state.config.models[model];
  auto& seen = p->actors.models[model];
  seen.model = m.model->name;
  seen.layers.resize(m.gates.size());
  ask<component_status>(
      self, until, m.scheduler,
      [p, model](component_status c) { p->actors.models[model].scheduler = std::move(c); },
      atom::status::value);
  for (size_t l = 0; l < m.gates.size(); ++l)
    gather_layer(self, p, until, model, l);
}

std::vector<compute::device_status> devices_of(const inspector_state& st) {
  std::set<const compute::device*> seen;
  std::vector<compute::device_status> all;
  for (const auto& m : st.config.models)
    if (seen.insert(m.model->device.get()).second)
      all.push_back(m.model->device->status());
  return all;
}

void gather_actors(self_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  const auto& st = self->state;
  p->actors.devices = devices_of(st);
  p->actors.models.resize(st.config.models.size());
  for (size_t i = 0; i < st.config.models.size(); ++i)
    gather_model(self, p, until, i);
  auto& others = p->actors.others;
  others.resize(st.config.tiers.size() + 2);
  for (size_t i = 0; i < st.config.tiers.size(); ++i)
    ask<component_status>(
        self, until, st.config.tiers[i],
        [p, i](component_status c) { p->actors.others[i] = std::move(c); }, atom::status::value);
  if (auto socket = socket_of(st))
    ask<component_status>(
        self, until, socket,
        [p](component_status c) { p->actors.others[p->actors.others.size() - 2] = std::move(c); },
        atom::status::value);
  others.back() = st.cost.status(self, "inspector");
}

const inspected_model* model_named(const inspector_state& st, const std::string& name) {
  for (const auto& m : st.config.models)
    if (name.empty() || m.model->name == name)
      return &m;
  return nullptr;
}

std::string served_names(const inspector_state& st) {
  std::string names;
  for (const auto& m : st.config.models)
    names += (names.empty() ? "" : ", ") + m.model->name;
  return names;
}

void answer_experts(self_ptr self, const inspect_request& r, text_promise promise) {
  const auto* m = model_named(self->state, r.model);
  if (!m) {
    promise.deliver(to_caf(
        {ec::unknown_model,
         "no model '" + r.model + "' is served here; served are: " + served_names(self->state)}));
    return;
  }
  auto facts = std::make_shared<model_facts>();
  auto experts = std::make_shared<std::vector<expert_status>>();
  facts->model = m->model;
  auto until = std::make_shared<gathering>([=]() mutable {
    std::sort(experts->begin(), experts->end(),
              [](const auto& a, const auto& b) { return a.key < b.key; });
    promise.deliver(experts_json(*facts, *experts));
  });
  ask<scheduler_status>(
      self, until, m->scheduler, [facts](scheduler_status s) { facts->scheduler = std::move(s); },
      atom::details::value);
  for (const auto& gate : m->gates)
    ask<std::vector<expert_status>>(
        self, until, gate,
        [experts](std::vector<expert_status> some) {
          experts->insert(experts->end(), some.begin(), some.end());
        },
        atom::details::value);
  until->over();
}

void finish_trace(self_ptr self, request_trace trace, text_promise promise) {
  auto whole = std::make_shared<request_trace>(std::move(trace));
  auto until = std::make_shared<gathering>([=]() mutable { promise.deliver(trace_json(*whole)); });
  if (auto socket = socket_of(self->state))
    ask<component_status>(
        self, until, socket, [whole](component_status c) { whole->socket = std::move(c); },
        atom::status::value);
  until->over();
}

/// The scheduler that knows the request answers.
void answer_trace(self_ptr self, request_id id, text_promise promise, size_t model = 0) {
  const auto& models = self->state.config.models;
  if (model >= models.size()) {
    promise.deliver(to_caf({ec::unknown_request, "request " + to_string(id) +
                                                     " is not among those running or last ended"}));
    return;
  }
  self->request(models[model].scheduler, caf::infinite, atom::details::value, id)
      .then(
          [=](const std::vector<token_trace>& tokens) {
            finish_trace(self, {id, self->state.config.models[model].model->name, tokens, {}},
                         promise);
          },
          [=](caf::error&) { answer_trace(self, id, promise, model + 1); });
}

/// Of the request that began last among those that run.
void answer_newest_trace(self_ptr self, text_promise promise) {
  auto newest = std::make_shared<uint64_t>(0);
  auto until = std::make_shared<gathering>([=]() mutable {
    if (*newest)
      return answer_trace(self, request_id{*newest}, promise);
    promise.deliver(to_caf({ec::unknown_request,
                            "no request runs now: give the number of one of the last that ended"}));
  });
  for (const auto& m : self->state.config.models)
    ask<scheduler_status>(
        self, until, m.scheduler,
        [newest](const scheduler_status& s) {
          for (const auto& one : s.sessions)
            if (one.state != "queued")
              *newest = std::max(*newest, index(one.id));
        },
        atom::details::value);
  until->over();
}

using document = std::string (*)(const picture&);

document document_named(const std::string& what) {
  if (what == "status")
    return [](const picture& p) { return status_json(p.node, p.models, p.tiers); };
  if (what == "sessions")
    return [](const picture& p) { return sessions_json(p.models); };
  if (what == "memory")
    return [](const picture& p) { return memory_json(p.models, p.tiers); };
  if (what == "metrics")
    return [](const picture& p) { return metrics_json(p.node, p.models, p.tiers); };
  return nullptr;
}

/// One picture of everything, taken before the answer is made.
template <class Gather, class Make>
void answer_picture(self_ptr self, text_promise promise, Gather gather_into, Make make) {
  auto p = std::make_shared<picture>();
  auto until = std::make_shared<gathering>([=]() mutable { promise.deliver(make(*p)); });
  gather_into(self, p, until);
  until->over();
}

void answer(self_ptr self, const inspect_request& r, text_promise promise) {
  if (r.what == "experts")
    return answer_experts(self, r, promise);
  if (r.what == "trace")
    return r.target ? answer_trace(self, request_id{r.target}, promise)
                    : answer_newest_trace(self, promise);
  if (r.what == "actors") {
    auto depth = static_cast<actor_depth>(std::min(r.depth, 2u));
    return answer_picture(self, promise, gather_actors,
                          [depth](const picture& p) { return actors_json(p.actors, depth); });
  }
  if (auto make = document_named(r.what))
    return answer_picture(self, promise, gather, make);
  promise.deliver(
      to_caf({ec::bad_argument,
              "'" + r.what +
                  "' is not one of status, actors, experts, sessions, memory, trace and metrics"}));
}

} // namespace

inspector_actor::behavior_type inspector(self_ptr self, inspector_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) { return self->state.cost.status(self, "inspector"); },
      [self](const inspect_request& r) -> caf::result<std::string> {
        auto measured = self->state.cost.measure();
        auto promise =
            self->make_response_promise<std::string>(); // from here on, errors go by it too
        answer(self, r, promise);
        return promise;
      },
      [self](atom::begin, const app_socket_actor& socket) {
        self->state.socket = caf::actor_cast<caf::weak_actor_ptr>(socket);
      },
  };
}

} // namespace coel::actors
