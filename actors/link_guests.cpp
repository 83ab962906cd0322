#include "actors/link_guests.hpp"

#include "actors/errors.hpp"
#include "actors/session.hpp"
#include "net/app_protocol.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

/// To this node's session that has its home there.
void tell_session(link_ptr self, const caf::strong_actor_ptr& session, uint64_t id,
                  app_reply reply) {
  self->send(caf::actor_cast<answer_sink>(session),
             app_answer{0, id, std::make_shared<const app_reply>(std::move(reply))});
}

bool is_last(const app_reply& reply) {
  return !std::holds_alternative<token_reply>(reply);
}

/// Why a session cannot be decoded here, if so.
std::optional<error> reason_to_refuse(const link_state& st, const hosted_model* hosted,
                                      uint64_t id) {
  if (!hosted || !hosted->scheduler)
    return error{ec::helper_only, "this node is no home of that model"};
  if (st.guests.contains(id))
    return error{ec::bad_argument, "a session of that number is decoded here already"};
  if (st.guests.size() >= st.config.max_guests)
    return error{ec::busy, "as many sessions of one neighbour as may be are decoded here"};
  return {};
}

} // namespace

void refuse_guest(link_state& st, uint64_t id, const error& why) {
  send(st, net::encode(net::guest_answer_frame{id, net::encode(id, app_reply(why))}));
}

caf::result<bool> send_guest(link_ptr self, const guest_order& order) {
  auto& st = self->state;
  auto id = index(order.id);
  auto message = net::encode(id, *order.request);
  if (message.size() > net::max_guest_bytes)
    return to_caf({ec::too_long, "the session is too long to be sent to another home"});
  if (!is_up(st) || !send(st, net::encode(net::guest_frame{id, std::move(message)})))
    return to_caf({ec::io, who(st) + " is not connected"});
  st.away[id] = caf::actor_cast<caf::strong_actor_ptr>(self->current_sender());
  return true;
}

void take_guest_back(link_ptr self, request_id id) {
  auto& st = self->state;
  if (st.away.erase(index(id)))
    send(st, net::encode(net::guest_end_frame{index(id)}));
}

void guest_answered(link_ptr self, const net::guest_answer_frame& said) {
  auto& st = self->state;
  auto at = st.away.find(said.id);
  if (at == st.away.end())
    return; // given up before
  auto reply = net::decode_reply(said.message);
  auto session = at->second;
  if (!reply.body.ok()) {
    st.away.erase(at);
    ++st.counts.bad_frames;
    send(st, net::encode(net::guest_end_frame{said.id}));
    return tell_session(self, session, said.id, reply.body.err());
  }
  if (is_last(*reply.body))
    st.away.erase(at);
  tell_session(self, session, said.id, std::move(*reply.body));
}

void receive_guest(link_ptr self, const net::guest_frame& asked) {
  auto& st = self->state;
  auto request = net::decode_request(asked.message);
  if (!request.body.ok())
    return refuse_guest(st, asked.id, request.body.err());
  const auto* generate = std::get_if<generate_request>(&*request.body);
  if (!generate)
    return refuse_guest(st, asked.id, {ec::bad_argument, "only answers are given to neighbours"});
  auto hosted = st.config.models->named(generate->model);
  if (auto why = reason_to_refuse(st, hosted.get(), asked.id))
    return refuse_guest(st, asked.id, *why);
  session_config config;
  config.models = st.config.models;
  config.call = {0, asked.id, std::make_shared<const app_request>(std::move(*request.body))};
  config.model = hosted->model;
  config.scheduler = hosted->scheduler;
  config.answers = caf::actor_cast<answer_sink>(self);
  st.guests[asked.id] = self->spawn<caf::monitored>(session, std::move(config));
}

void answer_for_guest(link_ptr self, const app_answer& said) {
  auto& st = self->state;
  auto at = st.guests.find(said.id);
  if (at == st.guests.end())
    return;
  auto message = net::encode(said.id, *said.reply);
  if (is_last(*said.reply))
    st.guests.erase(at);
  send(st, net::encode(net::guest_answer_frame{said.id, std::move(message)}));
}

void dismiss_guest(link_ptr self, uint64_t id) {
  auto& st = self->state;
  auto at = st.guests.find(id);
  if (at == st.guests.end())
    return;
  self->send(at->second, atom::gone::value);
  st.guests.erase(at);
}

void guest_is_gone(link_ptr self, const caf::down_msg& down) {
  auto& st = self->state;
  for (auto at = st.guests.begin(); at != st.guests.end(); ++at)
    if (at->second.address() == down.source) {
      auto id = at->first;
      st.guests.erase(at);
      return refuse_guest(
          st, id,
          {ec::internal, "the session ended unexpectedly there: " + caf::to_string(down.reason)});
    }
}

void part_from_guests(link_ptr self, const error& why) {
  auto& st = self->state;
  for (auto& [id, session] : std::exchange(st.away, {}))
    tell_session(self, session, id, why);
  for (auto& [id, session] : std::exchange(st.guests, {}))
    self->send(session, atom::gone::value);
}

} // namespace coel::actors
