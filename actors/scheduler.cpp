#include "actors/errors.hpp"
#include "actors/scheduler_parts.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = scheduler_ptr;
using state = scheduler_state;

constexpr size_t traced_requests = 32;

policy::admission_load load_of(const state& st) {
  return {st.pages->free(), static_cast<uint32_t>(st.sessions.size()),
          static_cast<uint32_t>(st.queue.size())};
}

void start(self_ptr self, admission ask, const session_actor& actor) {
  auto& st = self->state;
  uint64_t tokens = ask.prompt.size() + ask.max_tokens;
  state::running s;
  s.id = ask.id;
  s.actor = actor;
  s.prompt_tokens = static_cast<uint32_t>(ask.prompt.size());
  s.tokens = std::move(ask.prompt);
  s.prefill = s.prompt_tokens;
  s.max_tokens = static_cast<uint32_t>(tokens);
  s.pages = *st.pages->take(policy::pages_for(tokens, st.config.admission.page_tokens));
  s.every_row = ask.every_row;
  if (ask.probe) {
    s.probe = std::make_shared<session_probe>();
    s.probe->routing.shape = st.stats->shape();
  }
  s.began = steady::now();
  st.tokens_in += s.prompt_tokens;
  open_stages(self, st.sessions.emplace_back(std::move(s)));
  self->send(actor, atom::begin::value);
}

void start_waiting(self_ptr self) {
  auto& st = self->state;
  while (!st.queue.empty()) {
    const auto& ask = st.queue.front().ask;
    if (policy::admit(ask.prompt.size(), ask.max_tokens, st.config.admission, load_of(st), false) !=
        policy::admission_verdict::start)
      return;
    auto next = std::move(st.queue.front());
    st.queue.pop_front();
    start(self, std::move(next.ask), next.actor);
  }
}

void keep_traces(state& st, state::running& s) {
  st.ended.emplace_back(s.id, std::vector<token_trace>(s.traces.begin(), s.traces.end()));
  if (st.ended.size() > traced_requests)
    st.ended.pop_front();
}

/// A step of the session's present life is under way, or one that has the memory.
bool is_in_use(const state& st, const state::running& s) {
  for (const auto& [number, step] : st.under_way)
    for (const auto& share : step.shares)
      if (share.id == s.id && (share.life == s.life || st.here == number))
        return true;
  return false;
}

routing_sample_ptr sample_of(const state& st) {
  auto out = std::make_shared<policy::routing_trace>();
  out->shape = st.stats->shape();
  for (const auto& token : st.stats->sample())
    out->append(token, 0);
  return out;
}

caf::error refusal(const state& st, const admission& ask, policy::admission_verdict why) {
  auto asked = std::to_string(ask.prompt.size()) + " prompt and " + std::to_string(ask.max_tokens) +
               " answer tokens";
  const auto& limits = st.config.admission;
  switch (why) {
  case policy::admission_verdict::refuse_context:
    return to_caf(
        {ec::too_long, asked + " exceed the model's context of " + std::to_string(limits.context)});
  case policy::admission_verdict::refuse_memory:
    return to_caf({ec::too_long, asked + " need more KV memory than this node has (" +
                                     std::to_string(uint64_t{limits.pages} * limits.page_tokens) +
                                     " tokens): raise --kv"});
  default:
    return to_caf({ec::busy, "the queue of " + std::to_string(limits.max_queue) +
                                 " requests is full: try later"});
  }
}

caf::result<bool> admit(self_ptr self, const admission& ask, const session_actor& actor) {
  auto& st = self->state;
  auto verdict = policy::admit(ask.prompt.size(), ask.max_tokens, st.config.admission, load_of(st),
                               !st.queue.empty());
  switch (verdict) {
  case policy::admission_verdict::start:
    start(self, ask, actor);
    go_on(self);
    return true;
  case policy::admission_verdict::wait:
    st.queue.push_back({ask, actor, steady::now()});
    return true;
  default:
    return refusal(st, ask, verdict);
  }
}

void leave(self_ptr self, request_id id) {
  auto& st = self->state;
  std::erase_if(st.queue, [&](const auto& w) { return w.ask.id == id; });
  auto* s = find_session(st, id);
  if (!s)
    return;
  s->leaving = true;
  settle(self);
  go_on(self);
}

caf::result<std::vector<uint32_t>> lend_pages(state& st, uint32_t count) {
  auto pages = st.pages->take(count);
  if (!pages)
    return to_caf({ec::busy, "its KV memory is full: " + std::to_string(st.pages->free()) + " of " +
                                 std::to_string(st.pages->total()) + " pages are free, " +
                                 std::to_string(count) + " are needed"});
  return std::move(*pages);
}

session_status status_of(const state::running& s) {
  auto age = us_between(s.began, steady::now());
  bool decoding = !s.anew && s.fed >= s.prefill;
  uint32_t answer = static_cast<uint32_t>(s.tokens.size()) - s.prompt_tokens;
  return {s.id,
          decoding ? "decode" : "prefill",
          s.prompt_tokens,
          answer,
          static_cast<uint32_t>(s.pages.size()),
          age ? answer * 1e6 / static_cast<double>(age) : 0,
          age / 1000};
}

scheduler_status details(const state& st) {
  scheduler_status out;
  for (const auto& s : st.sessions)
    out.sessions.push_back(status_of(s));
  for (const auto& w : st.queue)
    out.sessions.push_back({w.ask.id, "queued", static_cast<uint32_t>(w.ask.prompt.size()), 0, 0, 0,
                            us_between(w.since, steady::now()) / 1000});
  out.queued = static_cast<uint32_t>(st.queue.size());
  out.pages = st.pages->total();
  out.pages_used = st.pages->used();
  out.page_tokens = st.config.admission.page_tokens;
  out.page_bytes = st.config.memory->cache->shape().page_bytes();
  out.steps = st.steps;
  out.tokens_in = st.tokens_in;
  out.tokens_out = st.tokens_out;
  out.routed_tokens = st.stats->tokens();
  out.network = st.network;
  const auto& shape = st.stats->shape();
  for (uint32_t l = 0; l < shape.layers; ++l) {
    auto& row = out.popularity.emplace_back();
    for (uint32_t e = 0; e < shape.experts; ++e)
      row.push_back(st.stats->popularity({static_cast<layer_id>(l), static_cast<expert_id>(e)}));
  }
  return out;
}

caf::result<std::vector<token_trace>> traces(state& st, request_id id) {
  if (const auto* s = find_session(st, id))
    return std::vector<token_trace>(s->traces.begin(), s->traces.end());
  for (const auto& [ended, kept] : st.ended)
    if (ended == id)
      return kept;
  return to_caf({ec::unknown_request,
                 "request " + to_string(id) + " is not among those running or last ended"});
}

} // namespace

state::running* find_session(state& st, request_id id) {
  auto i = std::find_if(st.sessions.begin(), st.sessions.end(),
                        [&](const auto& s) { return s.id == id; });
  return i == st.sessions.end() ? nullptr : &*i;
}

state::running* live_session(state& st, const scheduler_step::share& share) {
  auto* s = find_session(st, share.id);
  return s && s->life == share.life ? s : nullptr;
}

void settle(self_ptr self) {
  auto& st = self->state;
  std::erase_if(st.sessions, [&](auto& s) {
    if (!s.leaving || is_in_use(st, s))
      return false;
    st.pages->give_back(s.pages);
    close_stages(self, s);
    keep_traces(st, s);
    return true;
  });
  start_waiting(self);
}

scheduler_actor::behavior_type scheduler(self_ptr self, scheduler_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  st.pages.emplace(st.config.admission.pages);
  const auto& c = st.config.model->config();
  st.stats.emplace(policy::routing_shape{c.layers, c.experts, c.top_k}, 1);
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "scheduler", self->state.config.model->name);
      },
      [self](const admission& ask, const session_actor& actor) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        return admit(self, ask, actor);
      },
      [self](atom::leave, request_id id) {
        auto measured = self->state.cost.measure();
        leave(self, id);
      },
      [self](atom::details) { return details(self->state); },
      [self](atom::sample) { return sample_of(self->state); },
      [self](atom::details, request_id id) { return traces(self->state, id); },
      [self](atom::publish, const route_view_ptr& view) { take_view(self, view); },
      [self](atom::reserve, uint32_t pages) { return lend_pages(self->state, pages); },
      [self](atom::release, const std::vector<uint32_t>& pages) {
        self->state.pages->give_back(pages);
        start_waiting(self);
        go_on(self);
      },
      [self](const stage_answer& said) {
        auto measured = self->state.cost.measure();
        take_answer(self, said);
      },
      [self](atom::tick) { give_up_late_runs(self); },
  };
}

} // namespace coel::actors
