#include "actors/session.hpp"

#include "actors/errors.hpp"
#include "actors/session_away.hpp"

#include <caf/all.hpp>

#include <random>

namespace coel::actors {

namespace {

using self_ptr = session_ptr;

constexpr std::chrono::milliseconds rescue_look{50};

const generate_request* generating(const session_state& st) {
  return std::get_if<generate_request>(st.config.call.request.get());
}
const score_request* scoring(const session_state& st) {
  return std::get_if<score_request>(st.config.call.request.get());
}

void answer(self_ptr self, app_reply reply) {
  const auto& call = self->state.config.call;
  self->send(self->state.config.answers,
             app_answer{call.client, call.id, std::make_shared<const app_reply>(std::move(reply))});
}

/// The last reply; nothing follows it.
void end(self_ptr self, app_reply last) {
  auto& st = self->state;
  if (st.ended)
    return;
  st.ended = true;
  answer(self, std::move(last));
  leave_home(self);
  self->send(st.config.scheduler, atom::leave::value, st.id);
  self->quit();
}

/// Prompt of a generate request as tokens. Exactly one of its three forms is given.
result<std::vector<int32_t>> prompt_of(const session_state& st, const generate_request& r) {
  int forms = !r.prompt.empty() + !r.tokens.empty() + !r.messages.empty();
  if (forms > 1)
    return {ec::bad_argument, "give one of prompt, tokens and messages, not several"};
  const auto& m = *st.config.model;
  if (!r.tokens.empty())
    return r.tokens;
  if (r.messages.empty())
    return m.tokenizer->encode(r.prompt, true, true);
  auto parts = model::chat_prompt(m.chat, m.tokenizer->data(), r.messages);
  if (!parts)
    return parts.err();
  return m.tokenizer->encode(*parts);
}

result<std::vector<int32_t>> input_of(session_state& st) {
  const auto& m = *st.config.model;
  if (const auto* r = generating(st)) {
    if (auto ok = model::check(r->sampling); !ok)
      return ok.err();
    if (r->max_tokens == 0 && r->answered.empty())
      return {ec::bad_argument, "max_tokens must be at least 1"};
    st.max_tokens = r->max_tokens;
    auto params = r->sampling;
    if (params.seed == 0)
      params.seed = std::random_device{}() | 1u;
    st.seed = params.seed;
    st.sampler.emplace(params, r->answered.size());
    st.text.emplace(m.tokenizer, r->sampling.stop);
    return prompt_of(st, *r);
  }
  const auto& r = *scoring(st);
  return r.tokens.empty() ? m.tokenizer->encode(r.text, true, true) : r.tokens;
}

result<void> check_tokens(const std::vector<int32_t>& tokens, uint32_t vocab) {
  for (auto t : tokens)
    if (t < 0 || static_cast<uint32_t>(t) >= vocab)
      return {ec::bad_argument, "token " + std::to_string(t) + " is outside the vocabulary of " +
                                    std::to_string(vocab)};
  return {};
}

using ending = std::optional<finish_reason>;

/// Takes over what another node has answered as if it had been drawn here; its text has been shown
/// there. The reason, if the answer was complete and only its last reply got lost.
result<ending> take_over(session_state& st, const generate_request& r) {
  st.tokens.insert(st.tokens.end(), r.answered.begin(), r.answered.end());
  for (size_t i = 0; i < r.answered.size(); ++i) {
    if (st.config.model->tokenizer->is_end(r.answered[i]) && !r.ignore_end)
      return {ec::bad_argument,
              "'answered' holds token " + std::to_string(r.answered[i]) + ", which ends an answer"};
    if (!st.text->push(r.answered[i]).stopped)
      continue;
    if (i + 1 < r.answered.size())
      return {ec::bad_argument, "'answered' goes on after a stop string"};
    return ending{finish_reason::stop};
  }
  return r.max_tokens == 0 ? ending{finish_reason::length} : ending{};
}

void take_up(self_ptr self) {
  auto& st = self->state;
  auto input = input_of(st);
  if (!input)
    return end(self, input.err());
  if (input->empty())
    return end(self, error{ec::bad_argument, "the prompt is empty"});
  st.prompt_tokens = static_cast<uint32_t>(input->size());
  st.tokens = std::move(*input);
  auto complete = generating(st) ? take_over(st, *generating(st)) : result<ending>(ending{});
  if (!complete)
    return end(self, complete.err());
  if (auto ok = check_tokens(st.tokens, st.config.model->config().vocab); !ok)
    return end(self, ok.err());
  if (*complete)
    return finish(self, **complete);
  st.given_tokens = static_cast<uint32_t>(st.tokens.size());
  ask_for_place(self);
}

void set_deadline(self_ptr self) {
  auto& st = self->state;
  uint32_t ms = generating(st) ? generating(st)->deadline_ms : scoring(st)->deadline_ms;
  self->delayed_send(self, std::chrono::milliseconds(ms ? ms : st.config.default_deadline_ms),
                     atom::deadline::value);
}

/// Its scheduler cannot go on, since the device under it is lost.
bool device_lost(const session_state& st, const error& why) {
  if (why.code == ec::device_lost)
    return true;
  auto own = st.config.model->device->status().own_memory;
  return own && own->lost;
}

/// What was told counts; all tokens are fed again where the model is now.
void begin_again(self_ptr self, const hosted_model& now) {
  auto& st = self->state;
  st.config.model = now.model;
  st.config.scheduler = now.scheduler;
  if (const auto* r = generating(st)) {
    auto params = r->sampling;
    params.seed = st.seed;
    st.max_tokens -= static_cast<uint32_t>(st.tokens.size()) - st.given_tokens;
    st.given_tokens = static_cast<uint32_t>(st.tokens.size());
    st.sampler.emplace(params, st.given_tokens - st.prompt_tokens);
  }
  st.scores.clear();
  ask_for_place(self);
}

/// The request goes on as soon as its model is on another device, or fails.
void failed(self_ptr self, const error& why) {
  auto& st = self->state;
  if (st.ended)
    return;
  if (!device_lost(st, why))
    return end(self, why);
  if (!st.config.models->rescues())
    return end(self, error{ec::device_lost, why.message});
  self->send(st.config.scheduler, atom::leave::value, st.id);
  auto now = st.config.models->named(st.config.model->name);
  if (now && now->scheduler && now->model != st.config.model)
    return begin_again(self, *now);
  self->delayed_send(self, rescue_look, error{ec::device_lost, why.message});
}

constexpr session_move over{session_move::kind::finish, 0};

session_move next_token(self_ptr self, const session_logits& logits) {
  auto& st = self->state;
  auto drawn = st.sampler->draw({logits.values, logits.vocab}, st.tokens);
  if (st.config.model->tokenizer->is_end(drawn.id) && !generating(st)->ignore_end) {
    if (st.first_token == steady::time_point{})
      st.first_token = steady::now();
    finish(self, finish_reason::end);
    return over;
  }
  return take_token(self, std::move(drawn));
}

/// Row i gives the probability of token i + 1.
session_move next_scores(self_ptr self, const session_logits& logits) {
  auto& st = self->state;
  for (uint32_t r = 0; r < logits.rows && st.scores.size() + 1 < st.tokens.size(); ++r)
    st.scores.push_back(
        model::log_probability({logits.values + size_t{r} * logits.vocab, logits.vocab},
                               st.tokens[logits.first_position + r + 1]));
  if (logits.first_position + logits.rows < st.tokens.size())
    return {session_move::kind::wait, 0};
  end(self, score_reply{st.tokens, st.scores});
  return over;
}

} // namespace

void finish(self_ptr self, finish_reason reason) {
  auto& st = self->state;
  if (st.text && reason != finish_reason::stop)
    if (auto held = st.text->finish(); !held.empty())
      answer(self, token_reply{-1, std::move(held), 0, {}});
  auto now = steady::now();
  bool began = st.admitted != steady::time_point{}, spoke = st.first_token != steady::time_point{};
  done_reply done;
  done.reason = reason;
  done.request = index(st.id);
  done.prompt_tokens = st.prompt_tokens;
  done.answer_tokens = static_cast<uint32_t>(st.tokens.size()) - st.prompt_tokens;
  done.seed = st.seed;
  done.times.queued_us = us_between(st.arrived, began ? st.admitted : now);
  done.times.prefill_us = began ? us_between(st.admitted, spoke ? st.first_token : now) : 0;
  done.times.decode_us = spoke ? us_between(st.first_token, now) : 0;
  end(self, done);
}

void ask_for_place(self_ptr self) {
  auto& st = self->state;
  st.id = st.config.models->next_request();
  admission ask{st.id, st.tokens, st.max_tokens, scoring(st) != nullptr,
                generating(st) && st.config.homes};
  self->request(st.config.scheduler, caf::infinite, std::move(ask), session_actor{self})
      .then([](bool) {}, [self](caf::error& why) { failed(self, from_caf(why)); });
}

session_move take_token(self_ptr self, model::sampled drawn) {
  auto& st = self->state;
  if (st.first_token == steady::time_point{})
    st.first_token = steady::now();
  st.tokens.push_back(drawn.id);
  auto piece = st.text->push(drawn.id);
  answer(self, token_reply{drawn.id, std::move(piece.text), drawn.logprob, std::move(drawn.top)});
  if (piece.stopped) {
    finish(self, finish_reason::stop);
    return over;
  }
  if (st.tokens.size() - st.given_tokens >= st.max_tokens) {
    finish(self, finish_reason::length);
    return over;
  }
  return {session_move::kind::feed, drawn.id};
}

session_actor::behavior_type session(self_ptr self, session_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  st.arrived = steady::now();
  set_deadline(self);
  take_up(self);
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "session", self->state.config.model->name);
      },
      [self](atom::begin) { self->state.admitted = steady::now(); },
      [self](const session_logits& logits) -> caf::result<session_move> {
        auto measured = self->state.cost.measure();
        if (self->state.ended || self->state.away || logits.id != self->state.id)
          return over;
        return generating(self->state) ? next_token(self, logits) : next_scores(self, logits);
      },
      [self](const session_probe_ptr& probe) { consider_home(self, probe); },
      [self](const app_answer& said) {
        auto measured = self->state.cost.measure();
        hear_home(self, said);
      },
      [self](const error& why) { failed(self, why); },
      [self](atom::cancel) { finish(self, finish_reason::cancelled); },
      [self](atom::gone) { finish(self, finish_reason::cancelled); },
      [self](atom::deadline) { finish(self, finish_reason::deadline); },
  };
}

} // namespace coel::actors
