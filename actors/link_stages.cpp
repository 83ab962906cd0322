#include "actors/link_stages.hpp"

#include "actors/errors.hpp"
#include "actors/link_service.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

constexpr std::chrono::seconds open_patience{3};

/// Residuals hold a few values that are far above the others of their group, which int8 would
/// round to nothing; and a hop is one of few.
net::wire_type wire_of(const link_state& st) {
  return st.config.wire == net::wire_type::int8 ? net::wire_type::f16 : st.config.wire;
}

caf::result<bool> send_or_fail(link_state& st, zmq::message_t message) {
  if (!is_up(st))
    return to_caf({ec::io, who(st) + " is not connected"});
  if (!send(st, std::move(message)))
    return to_caf({ec::busy, "the connection to " + who(st) + " is full"});
  return true;
}

} // namespace

caf::result<bool> ask_for_stage(link_ptr self, const stage_open& ask) {
  auto& st = self->state;
  auto id = ++st.next;
  if (!is_up(st) || !send(st, net::encode(net::stage_open_frame{id, ask})))
    return to_caf({ec::io, who(st) + " is not connected"});
  auto now = steady::now();
  auto promise = self->make_response_promise<bool>();
  st.opens.emplace(id, link_state::pending<bool>{promise, now, now + open_patience});
  return promise;
}

caf::result<bool> pass_run(link_ptr self, const stage_run& run) {
  return send_or_fail(self->state, net::encode(run, wire_of(self->state)));
}

caf::result<bool> pass_answer(link_ptr self, const stage_answer& said) {
  return send_or_fail(self->state, net::encode(said, wire_of(self->state)));
}

void pass_close(link_ptr self, const stage_close& what) {
  if (is_up(self->state))
    send(self->state, net::encode(what));
}

void stage_granted(link_ptr self, const net::stage_granted_frame& frame) {
  auto& opens = self->state.opens;
  auto at = opens.find(frame.id);
  if (at == opens.end())
    return; // late
  auto promise = std::move(at->second.promise);
  opens.erase(at);
  promise.deliver(true);
}

void serve_stage(link_ptr self, const net::stage_open_frame& frame) {
  auto& st = self->state;
  auto hosted = st.config.models->with(frame.open.model);
  if (!hosted || !hosted->stage)
    return answer_failure(self, frame.id, {ec::helper_only, "it runs no layers of that model"});
  self->request(hosted->stage, caf::infinite, st.config.id, frame.open)
      .then([self,
             id = frame.id](bool) { send(self->state, net::encode(net::stage_granted_frame{id})); },
            [self, id = frame.id](caf::error& why) { answer_failure(self, id, from_caf(why)); });
}

void close_stage(link_ptr self, const stage_close& what) {
  auto& st = self->state;
  if (auto hosted = st.config.models->with(what.model); hosted && hosted->stage)
    self->send(hosted->stage, st.config.id, what);
}

void take_run(link_ptr self, stage_run run) {
  auto& st = self->state;
  auto hosted = st.config.models->with(run.model);
  if (!hosted || !hosted->stage)
    return; // nobody opened a session here: the home's patience ends
  self->request(hosted->stage, caf::infinite, std::move(run)).then([](bool) {}, [](caf::error&) {});
}

void take_answer(link_ptr self, stage_answer said) {
  auto& st = self->state;
  if (auto hosted = st.config.models->with(said.model); hosted && hosted->scheduler)
    self->send(hosted->scheduler, std::move(said));
}

} // namespace coel::actors
