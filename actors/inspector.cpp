#include "actors/inspector.hpp"

#include "actors/errors.hpp"
#include "actors/inspector_picture.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

using hosted_list = std::shared_ptr<const hosted_models::list>;

std::string served_names(const inspector_state& st) {
  std::string names;
  for (auto all = st.config.models->all(); const auto& m : *all)
    names += (names.empty() ? "" : ", ") + m.model->name;
  return names;
}

void answer_experts(inspector_ptr self, const inspect_request& r, text_promise promise) {
  auto m = self->state.config.models->named(r.model);
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
  if (m->scheduler)
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

void finish_trace(inspector_ptr self, request_trace trace, text_promise promise) {
  auto whole = std::make_shared<request_trace>(std::move(trace));
  auto until = std::make_shared<gathering>([=]() mutable { promise.deliver(trace_json(*whole)); });
  if (auto socket = socket_of(self->state))
    ask<component_status>(
        self, until, socket, [whole](component_status c) { whole->socket = std::move(c); },
        atom::status::value);
  if (const auto& cluster = self->state.config.cluster)
    ask<members_ptr>(
        self, until, cluster->perception,
        [whole](const members_ptr& m) { whole->nodes = node_names(m); }, atom::members::value);
  until->over();
}

/// The scheduler that knows the request answers.
void answer_trace(inspector_ptr self, request_id id, text_promise promise, hosted_list models,
                  size_t model = 0) {
  while (model < models->size() && !(*models)[model].scheduler)
    ++model;
  if (model == models->size()) {
    promise.deliver(to_caf({ec::unknown_request, "request " + to_string(id) +
                                                     " is not among those running or last ended"}));
    return;
  }
  const auto& one = (*models)[model];
  self->request(one.scheduler, caf::infinite, atom::details::value, id)
      .then(
          [=, name = one.model->name](const std::vector<token_trace>& tokens) {
            finish_trace(self, {id, name, tokens, {}}, promise);
          },
          [=](caf::error&) { answer_trace(self, id, promise, models, model + 1); });
}

/// Of the request that began last among those that run.
void answer_newest_trace(inspector_ptr self, text_promise promise) {
  auto newest = std::make_shared<uint64_t>(0);
  auto models = self->state.config.models->all();
  auto until = std::make_shared<gathering>([=]() mutable {
    if (*newest)
      return answer_trace(self, request_id{*newest}, promise, models);
    promise.deliver(to_caf({ec::unknown_request,
                            "no request runs now: give the number of one of the last that ended"}));
  });
  for (const auto& m : *models)
    if (m.scheduler)
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

void gather_all(inspector_ptr self, const picture_ptr& p, const gathering_ptr& until) {
  gather(self, p, until);
  gather_cluster(self, p, until);
}

const cluster_facts* cluster_of(const picture& p) {
  return p.cluster ? &*p.cluster : nullptr;
}

using document = std::string (*)(const picture&);

document document_named(const std::string& what) {
  if (what == "status")
    return [](const picture& p) { return status_json(p.node, p.models, p.tiers, cluster_of(p)); };
  if (what == "sessions")
    return [](const picture& p) { return sessions_json(p.models); };
  if (what == "memory")
    return [](const picture& p) { return memory_json(p.models, p.tiers); };
  if (what == "metrics")
    return [](const picture& p) { return metrics_json(p.node, p.models, p.tiers, cluster_of(p)); };
  return nullptr;
}

void answer_cluster(inspector_ptr self, uint32_t depth, text_promise promise) {
  if (!self->state.config.cluster)
    return refuse(promise, stands_alone());
  answer_picture(self, promise, gather_cluster,
                 [depth](const picture& p) { return cluster_json(*p.cluster, depth); });
}

void answer(inspector_ptr self, const inspect_request& r, text_promise promise) {
  if (r.what == "experts")
    return answer_experts(self, r, promise);
  if (r.what == "trace")
    return r.target
               ? answer_trace(self, request_id{r.target}, promise, self->state.config.models->all())
               : answer_newest_trace(self, promise);
  if (r.what == "cluster")
    return answer_cluster(self, r.depth, promise);
  if (r.what == "drain")
    return answer_drain(self, r, promise);
  if (r.what == "expel")
    return answer_expel(self, r, promise);
  if (r.what == "actors") {
    auto depth = static_cast<actor_depth>(std::min(r.depth, 2u));
    return answer_picture(self, promise, gather_actors,
                          [depth](const picture& p) { return actors_json(p.actors, depth); });
  }
  if (auto make = document_named(r.what))
    return answer_picture(self, promise, gather_all, make);
  promise.deliver(
      to_caf({ec::bad_argument, "'" + r.what +
                                    "' is not one of status, actors, experts, sessions, memory, "
                                    "trace, cluster, metrics, drain and "
                                    "expel"}));
}

} // namespace

inspector_actor::behavior_type inspector(inspector_ptr self, inspector_config config) {
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
