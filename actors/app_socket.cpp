#include "actors/app_socket.hpp"

#include "actors/errors.hpp"
#include "actors/helper_refusal.hpp"
#include "actors/session.hpp"

#include <caf/all.hpp>

#include <future>

namespace coel::actors {

namespace {

using self_ptr = app_socket_actor::stateful_pointer<app_socket_state>;

constexpr std::chrono::seconds member_patience{2};

void send_answer(app_socket_state& st, uint64_t client, uint64_t id, app_reply reply) {
  st.totals.errors += std::holds_alternative<error>(reply);
  st.config.server->send(net::client_ref{client}, id, std::move(reply));
}

result<std::shared_ptr<const hosted_model>> find_model(const app_socket_state& st,
                                                       const std::string& name) {
  if (auto m = st.config.models->named(name))
    return m;
  std::string known;
  for (auto all = st.config.models->all(); const auto& m : *all)
    known += (known.empty() ? "" : ", ") + m.model->name;
  for (const auto& [coming, percent] : st.config.models->fetching())
    if (name.empty() || name == coming)
      return {ec::unknown_model, "this node is fetching '" + coming + "' (" +
                                     std::to_string(percent) + " %): ask again, or another node"};
  if (known.empty())
    return {ec::unknown_model, "no model is served here"};
  return {ec::unknown_model, "no model '" + name + "' is served here; there is: " + known};
}

/// The model has no scheduler here.
void refuse_as_helper(self_ptr self, const app_call& call, const hosted_model& m) {
  auto refuse = [self, call, name = m.model->name, hash = m.model->hash,
                 why = m.no_home](const std::vector<member>& members) {
    send_answer(self->state, call.client, call.id, helper_refusal(name, hash, why, members));
  };
  self->request(self->state.config.perception, member_patience, atom::members::value)
      .then([refuse](const members_ptr& members) { refuse(*members); },
            [refuse](caf::error&) { refuse({}); });
}

void open_session(self_ptr self, const app_call& call, const std::string& model) {
  auto& st = self->state;
  auto found = find_model(st, model);
  if (!found)
    return send_answer(st, call.client, call.id, found.err());
  if (!(*found)->scheduler)
    return refuse_as_helper(self, call, **found);
  session_config config;
  config.models = st.config.models;
  config.call = call;
  config.model = (*found)->model;
  config.scheduler = (*found)->scheduler;
  config.answers = caf::actor_cast<answer_sink>(self);
  config.homes = st.config.homes;
  config.default_deadline_ms = st.config.default_deadline_ms;
  st.sessions[{call.client, call.id}] = self->spawn<caf::monitored>(session, std::move(config));
}

/// Work that may take long on a large text, away from the socket.
template <class Work>
void answer_later(self_ptr self, const app_call& call, const std::string& model, Work work) {
  auto& st = self->state;
  auto found = find_model(st, model);
  if (!found)
    return send_answer(st, call.client, call.id, found.err());
  auto sink = caf::actor_cast<answer_sink>(self);
  self->spawn([=, m = (*found)->model](caf::event_based_actor* worker) {
    worker->send(sink,
                 app_answer{call.client, call.id, std::make_shared<const app_reply>(work(*m))});
  });
}

void cancel(self_ptr self, const app_call& call, uint64_t target) {
  auto& st = self->state;
  auto found = st.sessions.find({call.client, target});
  if (found == st.sessions.end())
    return send_answer(
        st, call.client, call.id,
        error{ec::unknown_request, "request " + std::to_string(target) + " is not running"});
  self->send(found->second, atom::cancel::value);
  send_answer(st, call.client, call.id, cancelled_reply{});
}

void inspect(self_ptr self, const app_call& call, const inspect_request& what) {
  self->request(self->state.config.inspector, caf::infinite, what)
      .then(
          [self, call](std::string& json) {
            send_answer(self->state, call.client, call.id, document_reply{std::move(json)});
          },
          [self, call](caf::error& why) {
            send_answer(self->state, call.client, call.id, from_caf(why));
          });
}

/// One overload for each kind of request.
struct handle {
  self_ptr self;
  const app_call& call;

  void operator()(const generate_request& r) const { open_session(self, call, r.model); }
  void operator()(const score_request& r) const { open_session(self, call, r.model); }
  void operator()(const tokenize_request& r) const {
    answer_later(self, call, r.model, [r](const served_model& m) -> app_reply {
      return tokens_reply{m.tokenizer->encode(r.text, r.special, false)};
    });
  }
  void operator()(const detokenize_request& r) const {
    answer_later(self, call, r.model, [r](const served_model& m) -> app_reply {
      return text_reply{m.tokenizer->decode(r.tokens)};
    });
  }
  void operator()(const cancel_request& r) const { cancel(self, call, r.target); }
  void operator()(const inspect_request& r) const { inspect(self, call, r); }
};

void take_call(self_ptr self, const app_call& call) {
  auto& st = self->state;
  ++st.totals.requests;
  bool work = std::holds_alternative<generate_request>(*call.request) ||
              std::holds_alternative<score_request>(*call.request);
  if (work && st.totals.draining)
    return send_answer(st, call.client, call.id,
                       error{ec::shutting_down, "the node is shutting down: ask another"});
  if (work && st.sessions.contains({call.client, call.id}))
    return send_answer(st, call.client, call.id,
                       error{ec::bad_argument, "id " + std::to_string(call.id) +
                                                   " is in use by a request that runs"});
  std::visit(handle{self, call}, *call.request);
}

void settle_drain(app_socket_state& st) {
  if (!st.sessions.empty())
    return;
  for (auto& promise : st.waiting_for_drain)
    promise.deliver(atom::drained::value);
  st.waiting_for_drain.clear();
}

/// A session that ended without a last reply has crashed: its request must not wait for ever.
void note_end(app_socket_state& st, const caf::down_msg& down) {
  for (auto i = st.sessions.begin(); i != st.sessions.end(); ++i)
    if (i->second.address() == down.source) {
      auto [client, id] = i->first;
      st.sessions.erase(i);
      send_answer(
          st, client, id,
          error{ec::internal, "the session ended unexpectedly: " + caf::to_string(down.reason)});
      return settle_drain(st);
    }
}

void pass_on(app_socket_state& st, const app_answer& answer) {
  bool last = !std::holds_alternative<token_reply>(*answer.reply);
  if (last)
    st.sessions.erase({answer.client, answer.id});
  send_answer(st, answer.client, answer.id, *answer.reply);
  if (last)
    settle_drain(st);
}

} // namespace

app_socket_actor::behavior_type app_socket(self_ptr self, app_socket_config config) {
  self->state.config = std::move(config);
  self->set_down_handler([self](caf::down_msg& down) { note_end(self->state, down); });
  self->set_exit_handler([self](caf::exit_msg& end) {
    for (auto& [key, running] : self->state.sessions)
      self->send_exit(running, caf::exit_reason::user_shutdown);
    self->quit(std::move(end.reason));
  });
  return {
      [self](atom::status) { return self->state.cost.status(self, "app_socket"); },
      [self](const app_call& call) {
        auto measured = self->state.cost.measure();
        take_call(self, call);
      },
      [self](atom::gone, uint64_t client) {
        for (auto& [key, session] : self->state.sessions)
          if (key.first == client)
            self->send(session, atom::gone::value);
      },
      [self](const app_answer& answer) {
        auto measured = self->state.cost.measure();
        pass_on(self->state, answer);
      },
      [self](atom::details) { return self->state.totals; },
      [self](atom::drain) -> caf::result<atom::drained> {
        self->state.totals.draining = true;
        auto promise = self->make_response_promise<atom::drained>();
        self->state.waiting_for_drain.push_back(promise);
        settle_drain(self->state);
        return promise;
      },
  };
}

struct app_doorway::shared {
  std::promise<app_socket_actor> actor;
  std::shared_future<app_socket_actor> ready{actor.get_future().share()};
};

std::shared_ptr<app_doorway::shared> app_doorway::make() {
  return std::make_shared<shared>();
}

void app_doorway::set(const app_socket_actor& actor) {
  shared_->actor.set_value(actor);
}

net::app_handler app_doorway::handler() {
  return {[s = shared_](net::client_ref client, uint64_t id, app_request request) {
            caf::anon_send(s->ready.get(),
                           app_call{static_cast<uint64_t>(client), id,
                                    std::make_shared<const app_request>(std::move(request))});
          },
          [s = shared_](net::client_ref client) {
            caf::anon_send(s->ready.get(), atom::gone::value, static_cast<uint64_t>(client));
          }};
}

} // namespace coel::actors
