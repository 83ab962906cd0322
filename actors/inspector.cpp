#include "actors/inspector.hpp"

#include "actors/errors.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = inspector_actor::stateful_pointer<inspector_state>;
using text_promise = caf::typed_response_promise<std::string>;

/// Collects the answers of several actors; `done` runs when the last has come. An actor that fails
/// is left out.
class gathering {
 public:
  explicit gathering(std::function<void()> done) : done_(std::move(done)) {}
  ~gathering() { done_(); }

 private:
  std::function<void()> done_;
};
using gathering_ptr = std::shared_ptr<gathering>;

/// Asks `whom`; the answer goes to `take`. The gathering ends when all its askings have.
template <class Answer, class Whom, class Take, class... Question>
void ask(self_ptr self, const gathering_ptr& until, const Whom& whom, Take take, Question... question) {
  self->request(whom, caf::infinite, question...)
      .then([until, take](Answer& answer) { take(std::move(answer)); }, [until](caf::error&) {});
}

struct picture {
  node_facts node;
  std::vector<model_facts> models;
  std::vector<tier_status> tiers;
  std::vector<component_status> components;
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
    ask<scheduler_status>(self, until, config.models[i].scheduler,
        [p, i](scheduler_status s) { p->models[i].scheduler = std::move(s); }, atom::details::value);
  }
  for (size_t i = 0; i < config.tiers.size(); ++i)
    ask<tier_status>(self, until, config.tiers[i], [p, i](tier_status t) { p->tiers[i] = std::move(t); }, atom::details::value);
  if (auto socket = socket_of(self->state))
    ask<app_totals>(self, until, socket,
        [p](app_totals t) {
          p->node.requests = t.requests;
          p->node.errors = t.errors;
          p->node.draining = t.draining;
        },
        atom::details::value);
}

/// Experts of a layer as one entry: there are hundreds.
void add_experts(picture& p, const std::string& model, const std::vector<expert_status>& experts) {
  component_status sum;
  sum.model = model;
  for (const auto& e : experts) {
    sum.name = "experts " + to_string(e.key.layer);
    sum.messages += e.messages;
    sum.busy_us += e.busy_us;
    sum.mailbox = std::max(sum.mailbox, e.mailbox);
  }
  if (!experts.empty())
    p.components.push_back(std::move(sum));
}

void gather_components(self_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  auto add = [p](component_status c) { p->components.push_back(std::move(c)); };
  for (const auto& m : self->state.config.models) {
    ask<component_status>(self, until, m.scheduler, add, atom::status::value);
    for (const auto& gate : m.gates) {
      ask<component_status>(self, until, gate, add, atom::status::value);
      ask<std::vector<expert_status>>(self, until, gate, [p, name = m.model->name](std::vector<expert_status> e) { add_experts(*p, name, e); },
          atom::details::value);
    }
  }
  for (const auto& tier : self->state.config.tiers)
    ask<component_status>(self, until, tier, add, atom::status::value);
  if (auto socket = socket_of(self->state))
    ask<component_status>(self, until, socket, add, atom::status::value);
  add(self->state.cost.status(self, "inspector"));
}

const inspected_model* model_named(const inspector_state& st, const std::string& name) {
  for (const auto& m : st.config.models)
    if (name.empty() || m.model->name == name)
      return &m;
  return nullptr;
}

void answer_experts(self_ptr self, const inspect_request& r, text_promise promise) {
  const auto* m = model_named(self->state, r.model);
  if (!m)
    {
      promise.deliver(to_caf({ec::unknown_model, "no model '" + r.model + "' is served here"}));
      return;
    }
  auto facts = std::make_shared<model_facts>();
  auto experts = std::make_shared<std::vector<expert_status>>();
  facts->model = m->model;
  auto until = std::make_shared<gathering>([=]() mutable {
    std::sort(experts->begin(), experts->end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    promise.deliver(experts_json(*facts, *experts));
  });
  ask<scheduler_status>(self, until, m->scheduler, [facts](scheduler_status s) { facts->scheduler = std::move(s); }, atom::details::value);
  for (const auto& gate : m->gates)
    ask<std::vector<expert_status>>(self, until, gate,
        [experts](std::vector<expert_status> some) { experts->insert(experts->end(), some.begin(), some.end()); },
        atom::details::value);
}

/// The scheduler that knows the request answers first; if none does, the last one's error is given.
void answer_trace(self_ptr self, request_id id, text_promise promise, size_t model = 0) {
  const auto& models = self->state.config.models;
  if (model >= models.size())
    {
      promise.deliver(to_caf({ec::unknown_request, "request " + to_string(id) + " is not among those running or last ended"}));
      return;
    }
  self->request(models[model].scheduler, caf::infinite, atom::details::value, id)
      .then([promise, id](const std::vector<token_trace>& tokens) mutable { promise.deliver(trace_json(id, tokens)); },
            [=](caf::error&) { answer_trace(self, id, promise, model + 1); });
}

caf::result<std::string> answer(self_ptr self, const inspect_request& r) {
  auto promise = self->make_response_promise<std::string>();
  if (r.what == "experts") {
    answer_experts(self, r, promise);
    return promise;
  }
  if (r.what == "trace") {
    answer_trace(self, request_id{r.target}, promise);
    return promise;
  }
  std::string (*make)(const picture&) = nullptr;
  if (r.what == "status")
    make = [](const picture& p) { return status_json(p.node, p.models, p.tiers); };
  else if (r.what == "sessions")
    make = [](const picture& p) { return sessions_json(p.models); };
  else if (r.what == "memory")
    make = [](const picture& p) { return memory_json(p.tiers); };
  else if (r.what == "metrics")
    make = [](const picture& p) { return metrics_json(p.node, p.models, p.tiers); };
  else if (r.what == "actors")
    make = [](const picture& p) { return actors_json(p.components); };
  if (!make)
    return to_caf({ec::bad_argument, "'" + r.what + "' is not one of status, actors, experts, sessions, memory, trace and metrics"});
  auto p = std::make_shared<picture>();
  auto until = std::make_shared<gathering>([p, promise, make]() mutable { promise.deliver(make(*p)); });
  if (r.what == "actors")
    gather_components(self, p, until);
  else
    gather(self, p, until);
  return promise;
}

} // namespace

inspector_actor::behavior_type inspector(self_ptr self, inspector_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) { return self->state.cost.status(self, "inspector"); },
      [self](const inspect_request& r) -> caf::result<std::string> {
        auto measured = self->state.cost.measure();
        return answer(self, r);
      },
      [self](atom::begin, const app_socket_actor& socket) {
        self->state.socket = caf::actor_cast<caf::weak_actor_ptr>(socket);
      },
  };
}

} // namespace coel::actors
