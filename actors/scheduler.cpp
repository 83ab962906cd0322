#include "actors/scheduler.hpp"

#include "actors/errors.hpp"
#include "actors/lane.hpp"
#include "policy/session_homing.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = scheduler_actor::stateful_pointer<scheduler_state>;
using state = scheduler_state;

constexpr size_t traces_per_request = 64;
constexpr size_t traced_requests = 32;

void plan_step(self_ptr self);
void note_dense(state& st, const layer_done& done);
void note_decode(state& st, uint32_t took_us);

state::running* find(state& st, request_id id) {
  auto i = std::find_if(st.sessions.begin(), st.sessions.end(),
                        [&](const auto& s) { return s.id == id; });
  return i == st.sessions.end() ? nullptr : &*i;
}

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
  s.pages = *st.pages->take(policy::pages_for(tokens, st.config.admission.page_tokens));
  s.every_row = ask.every_row;
  if (ask.probe) {
    s.probe = std::make_shared<session_probe>();
    s.probe->routing.shape = st.stats->shape();
  }
  s.began = steady::now();
  st.tokens_in += s.prompt_tokens;
  st.sessions.push_back(std::move(s));
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

/// Between steps: sessions that wanted to leave do, and those that waited take their room.
void settle(self_ptr self) {
  auto& st = self->state;
  for (auto& s : st.sessions)
    if (s.leaving) {
      st.pages->give_back(s.pages);
      keep_traces(st, s);
    }
  std::erase_if(st.sessions, [](const auto& s) { return s.leaving; });
  start_waiting(self);
}

void end_step(self_ptr self) {
  auto& st = self->state;
  auto total = static_cast<uint32_t>(us_between(st.current->began, steady::now()));
  note_decode(st, total);
  auto done = std::move(*st.current);
  st.current.reset();
  ++st.steps;
  ++st.network.steps;
  st.network.rows += done.rows;
  st.network.step_us += total;
  for (const auto& share : done.shares)
    if (auto* s = find(st, share.id)) {
      uint32_t index = s->traces.empty() ? 0 : s->traces.back().index + 1;
      s->traces.push_back({index, total, done.hops});
      if (s->traces.size() > traces_per_request)
        s->traces.pop_front();
    }
  settle(self);
  plan_step(self);
}

/// The step failed: its sessions fail with the reason, the others go on.
void fail_step(self_ptr self, const error& why) {
  auto& st = self->state;
  for (const auto& share : st.current->shares)
    if (auto* s = find(st, share.id)) {
      self->send(s->actor, why);
      s->leaving = true;
    }
  end_step(self);
}

void note(state& st, std::string_view actor, uint64_t took_us) {
  auto& s = *st.current;
  auto at = us_between(s.began, steady::now());
  s.hops.push_back({actor, static_cast<uint16_t>(s.layer),
                    static_cast<uint32_t>(at - std::min(at, took_us)),
                    static_cast<uint32_t>(took_us), this_node, 0});
}

void submit_list(self_ptr self, compute::command_list list) {
  const auto& c = self->state.config;
  submit(*c.model->device, std::move(list), self->system(), self, c.memory,
         [](const compute::completion_info& info) {
           return caf::make_message(atom::step::value, info);
         });
}

void submit_attention(self_ptr self, compute::command_list before = {}) {
  auto& st = self->state;
  auto& s = *st.current;
  s.submitted = steady::now();
  auto list =
      st.config.model->graph().attention(st.config.memory->buffers, static_cast<layer_id>(s.layer),
                                         s.rows, st.config.memory->cache.get(), s.segments);
  std::move(list.begin(), list.end(), std::back_inserter(before));
  submit_list(self, std::move(before));
}

/// Adds a share's rows to the step: its tokens, where they stand, and whose logits are wanted.
void add_share(state& st, scheduler_step& s, const policy::batch_share& share,
               std::vector<int32_t>& tokens) {
  auto& session = *find(st, share.id);
  s.first_row.push_back(s.rows);
  s.segments.push_back({s.rows, share.rows, session.position, session.pages});
  tokens.insert(tokens.end(), session.tokens.begin(), session.tokens.begin() + share.rows);
  session.tokens.erase(session.tokens.begin(), session.tokens.begin() + share.rows);
  uint32_t wanted = !share.logits ? 0 : session.every_row ? share.rows : 1;
  for (uint32_t r = share.rows - wanted; r < share.rows; ++r)
    s.logit_rows.push_back(s.rows + r);
  s.rows += share.rows;
}

void plan_step(self_ptr self) {
  auto& st = self->state;
  if (st.current)
    return;
  std::vector<policy::batch_candidate> candidates;
  for (const auto& s : st.sessions)
    if (!s.tokens.empty() && !s.leaving)
      candidates.push_back({s.id, static_cast<uint32_t>(s.tokens.size()),
                            s.position >= s.prompt_tokens, s.every_row, s.slices});
  auto shares = policy::plan_batch(std::move(candidates), st.config.batching);
  if (shares.empty())
    return;
  auto& s = st.current.emplace();
  s.began = steady::now();
  std::vector<int32_t> tokens;
  for (const auto& share : shares)
    add_share(st, s, share, tokens);
  s.shares = std::move(shares);
  st.stats->begin_step(s.rows);
  submit_attention(self,
                   st.config.model->graph().embed(st.config.memory->buffers, std::move(tokens)));
}

/// What a layer's neighbours did, for the totals and for traces.
void note_network(state& st, const layer_done& done) {
  auto& n = st.network;
  n.experts_us += us_between(st.current->dispatched, steady::now());
  n.waited_us += done.network_us;
  // without neighbours it was not predicted but seen
  n.alone_us +=
      done.remote.empty() ? us_between(st.current->dispatched, steady::now()) : done.alone_us;
  n.rounds += !done.remote.empty();
  n.wire_bytes += done.wire_bytes;
  n.repeats += done.repeats;
  auto began = static_cast<uint32_t>(us_between(st.current->began, st.current->dispatched));
  for (const auto& h : done.remote)
    st.current->hops.push_back({"link", static_cast<uint16_t>(st.current->layer), began + h.at_us,
                                h.took_us, h.node, h.wait_us + h.run_us});
}

/// The session asked how its first tokens are routed.
void add_to_probe(self_ptr self, state::running& s, uint32_t first_row, uint32_t rows) {
  auto& st = self->state;
  auto& probe = *s.probe;
  const auto& routed = st.stats->last_step();
  for (uint32_t r = 0; r < rows && probe.routing.tokens() < policy::homing_options{}.prompt_tokens;
       ++r)
    probe.routing.append(routed[first_row + r], 0);
  probe.fed = s.position;
  if (s.position < s.prompt_tokens &&
      probe.routing.tokens() < policy::homing_options{}.prompt_tokens)
    return;
  probe.sessions = static_cast<uint32_t>(st.sessions.size() - 1);
  self->send(s.actor, session_probe_ptr(std::move(s.probe)));
  s.probe.reset();
}

/// All layers have run: the rows are in the KV cache, and their routing is known.
void rows_done(self_ptr self) {
  auto& st = self->state;
  st.stats->end_step();
  for (size_t i = 0; i < st.current->shares.size(); ++i) {
    const auto& share = st.current->shares[i];
    if (auto* s = find(st, share.id)) {
      s->position += share.rows;
      ++s->slices;
      if (s->probe)
        add_to_probe(self, *s, st.current->first_row[i], share.rows);
    }
  }
  if (!st.config.recorder)
    return;
  std::vector<char> bytes;
  for (const auto& token : st.stats->last_step())
    for (uint16_t e : token) {
      bytes.push_back(static_cast<char>(e & 255));
      bytes.push_back(static_cast<char>(e >> 8));
    }
  self->send(st.config.recorder, atom::append::value, std::move(bytes));
}

void answered(self_ptr self, request_id id, const session_move& move) {
  auto& st = self->state;
  if (auto* s = find(st, id)) {
    if (move.what == session_move::kind::finish)
      s->leaving = true;
    if (move.what == session_move::kind::feed && !s->leaving) {
      s->tokens.push_back(move.token);
      ++st.tokens_out;
    }
  }
  if (--st.current->answers_due == 0)
    end_step(self);
}

/// Every session whose rows have logits draws its next token; the buffer is theirs until all have.
void give_logits(self_ptr self) {
  auto& st = self->state;
  auto& s = *st.current;
  uint32_t vocab = st.config.model->config().vocab, row = 0;
  for (const auto& share : s.shares)
    s.answers_due += share.logits;
  for (const auto& share : s.shares) {
    if (!share.logits)
      continue;
    const auto& session = *find(st, share.id);
    uint32_t rows = session.every_row ? share.rows : 1;
    session_logits logits{share.id, session.position - rows, rows, vocab,
                          st.config.memory->buffers.logits_row(row, vocab), st.config.memory};
    row += rows;
    self->request(session.actor, caf::infinite, logits)
        .then([self, id = share.id](const session_move& move) { answered(self, id, move); },
              [self, id = share.id](caf::error&) { // the session is gone
                answered(self, id, {session_move::kind::finish, 0});
              });
  }
}

void ask_head(self_ptr self) {
  auto& st = self->state;
  auto& s = *st.current;
  if (s.logit_rows.empty())
    return end_step(self);
  s.dispatched = steady::now();
  self->request(st.config.head, caf::infinite, head_work{s.rows, s.logit_rows, st.config.memory})
      .then(
          [self](const layer_done& done) {
            auto measured = self->state.cost.measure();
            if (!done.outcome.ok())
              return fail_step(self, done.outcome.err());
            note(self->state, "head", done.run_us);
            note_network(self->state, done);
            give_logits(self);
          },
          [self](caf::error& failure) { fail_step(self, from_caf(failure)); });
}

void dispatch_layer(self_ptr self) {
  auto& st = self->state;
  auto& s = *st.current;
  auto layer = static_cast<layer_id>(s.layer);
  st.stats->add_layer(layer, {st.config.memory->buffers.chosen_experts(),
                              size_t{s.rows} * st.config.model->config().top_k});
  s.dispatched = steady::now();
  self->request(st.config.gates[s.layer], caf::infinite,
                layer_work{layer, s.rows, st.config.memory})
      .then(
          [self](const layer_done& done) {
            auto measured = self->state.cost.measure();
            if (!done.outcome.ok())
              return fail_step(self, done.outcome.err());
            note_dense(self->state, done);
            self->state.current->rounds += !done.remote.empty();
            note(self->state, "gate", done.dispatch_us);
            note(self->state, "experts", done.run_us);
            note_network(self->state, done);
            auto& now = *self->state.current;
            if (++now.layer < self->state.config.model->config().layers)
              return submit_attention(self);
            rows_done(self);
            ask_head(self);
          },
          [self](caf::error& failure) { fail_step(self, from_caf(failure)); });
}

/// What a layer takes beside its experts; of one with neighbours, what the gate did is not told
/// apart from waiting.
void note_dense(state& st, const layer_done& done) {
  auto& s = *st.current;
  auto gate_us = us_between(s.dispatched, steady::now());
  auto beside = done.remote.empty() ? gate_us - std::min(gate_us, done.run_us) : 0;
  st.config.model->costs->ran_layer(
      s.rows, static_cast<double>(us_between(s.submitted, s.dispatched) + beside));
}

/// Of steps of one token, which plans predict.
void note_decode(state& st, uint32_t took_us) {
  constexpr double fresh = 0.05;
  const auto& s = *st.current;
  if (s.rows != 1 || s.logit_rows.size() != 1)
    return;
  auto& n = st.network;
  double share = n.decode_steps++ ? fresh : 1;
  n.decode_us += share * (took_us - n.decode_us);
  n.decode_rounds += share * (s.rounds - n.decode_rounds);
}

routing_sample_ptr sample_of(const state& st) {
  auto out = std::make_shared<policy::routing_trace>();
  out->shape = st.stats->shape();
  for (const auto& token : st.stats->sample())
    out->append(token, 0);
  return out;
}

void device_done(self_ptr self, const compute::completion_info& info) {
  auto& st = self->state;
  if (!info.outcome.ok())
    return fail_step(self, info.outcome.err());
  note(st, "attention", info.busy_us);
  dispatch_layer(self);
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
    plan_step(self);
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
  auto* s = find(st, id);
  if (!s)
    return;
  s->leaving = true;
  if (!st.current) {
    settle(self);
    plan_step(self);
  }
}

session_status status_of(const state::running& s) {
  auto age = us_between(s.began, steady::now());
  bool decoding = s.position >= s.prompt_tokens;
  uint32_t answer = decoding ? s.position - s.prompt_tokens : 0;
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
  if (const auto* s = find(st, id))
    return std::vector<token_trace>(s->traces.begin(), s->traces.end());
  for (const auto& [ended, kept] : st.ended)
    if (ended == id)
      return kept;
  return to_caf({ec::unknown_request,
                 "request " + to_string(id) + " is not among those running or last ended"});
}

} // namespace

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
      [self](atom::step, const compute::completion_info& info) {
        auto measured = self->state.cost.measure();
        device_done(self, info);
      },
      [self](atom::details) { return details(self->state); },
      [self](atom::sample) { return sample_of(self->state); },
      [self](atom::details, request_id id) { return traces(self->state, id); },
  };
}

} // namespace coel::actors
