#include "actors/session_away.hpp"

#include "actors/errors.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

uint32_t answer_left(const session_state& st) {
  return st.max_tokens - (static_cast<uint32_t>(st.tokens.size()) - st.given_tokens);
}

/// The request as this node has come with it.
generate_request rest_of(const session_state& st) {
  auto rest = std::get<generate_request>(*st.config.call.request);
  rest.model = st.config.model->name;
  rest.prompt.clear();
  rest.messages.clear();
  rest.tokens.assign(st.tokens.begin(), st.tokens.begin() + st.prompt_tokens);
  rest.answered.assign(st.tokens.begin() + st.prompt_tokens, st.tokens.end());
  rest.max_tokens = answer_left(st);
  rest.sampling.seed = st.seed;
  rest.deadline_ms = 0; // kept here
  return rest;
}

/// Goes on here as it would from a client that lost its node.
void come_back(session_ptr self) {
  auto& st = self->state;
  st.away = neighbour_actor{};
  const auto& request = std::get<generate_request>(*st.config.call.request);
  auto params = request.sampling;
  params.seed = st.seed;
  st.max_tokens = answer_left(st);
  st.given_tokens = static_cast<uint32_t>(st.tokens.size());
  st.sampler.emplace(params, st.given_tokens - st.prompt_tokens);
  ask_for_place(self);
}

void move_to(session_ptr self, const neighbour_actor& home) {
  auto& st = self->state;
  st.away = home;
  self->send(st.config.scheduler, atom::leave::value, st.id);
  guest_order order{st.id, std::make_shared<const app_request>(rest_of(st))};
  self->request(home, caf::infinite, std::move(order))
      .then([](bool) {},
            [self](caf::error&) { // no link any more
              if (!self->state.ended)
                come_back(self);
            });
}

} // namespace

void consider_home(session_ptr self, const session_probe_ptr& probe) {
  auto& st = self->state;
  if (!st.config.homes || st.ended || st.away)
    return;
  homing_question ask{st.config.model->hash, probe, answer_left(st)};
  self->request(st.config.homes, std::chrono::seconds(1), std::move(ask))
      .then(
          [self](const home_choice& best) {
            const auto& now = self->state;
            if (best.link && !now.ended && !now.away && answer_left(now) > 0)
              move_to(self, best.link);
          },
          [](caf::error&) {}); // it stays
}

void hear_home(session_ptr self, const app_answer& said) {
  auto& st = self->state;
  if (st.ended || !st.away || said.id != index(st.id))
    return;
  if (const auto* token = std::get_if<token_reply>(said.reply.get())) {
    if (token->id >= 0) // text that is held back is made here
      take_token(self, {token->id, token->logprob, token->top});
    return;
  }
  const auto* done = std::get_if<done_reply>(said.reply.get());
  if (done && done->reason == finish_reason::end)
    return finish(self, finish_reason::end);
  come_back(self);
}

void leave_home(session_ptr self) {
  const auto& st = self->state;
  if (st.away)
    self->send(st.away, atom::cancel::value, st.id);
}

} // namespace coel::actors
