#include "actors/errors.hpp"
#include "actors/runner.hpp"
#include "actors/scheduler_parts.hpp"
#include "actors/tiering.hpp"
#include "policy/session_homing.hpp"
#include "policy/stage_batches.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = scheduler_ptr;
using state = scheduler_state;

constexpr size_t traces_per_request = 64;

// ---- which rows

/// What the session could give a step now; no rows: nothing.
policy::batch_candidate candidate_of(state::running& s) {
  if (s.leaving || s.opening)
    return {};
  if (std::exchange(s.anew, false))
    s.prefill = static_cast<uint32_t>(s.tokens.size());
  bool decoding = s.fed >= s.prefill;
  uint32_t rows = decoding ? static_cast<uint32_t>(s.tokens.size()) - s.fed : s.prefill - s.fed;
  return {s.id, rows, decoding, s.every_row, s.slices};
}

uint32_t under_way_on(const state& st, const stage_path* path) {
  return static_cast<uint32_t>(
      std::count_if(st.under_way.begin(), st.under_way.end(),
                    [&](const auto& one) { return one.second.path.get() == path; }));
}

/// Sessions of one path, as many that decode as make a group.
std::vector<policy::batch_candidate> group_of(state& st, const stage_path* path) {
  std::vector<policy::batch_candidate> out;
  uint32_t decoding = 0, taken = 0;
  for (const auto& s : st.sessions)
    decoding += s.path.get() == path && !s.leaving && s.fed >= s.prefill;
  auto most =
      path ? policy::decoders_of_batch(decoding, static_cast<uint32_t>(path->size())) : decoding;
  for (auto& s : st.sessions) {
    if (s.path.get() != path)
      continue;
    auto c = candidate_of(s);
    if (c.rows == 0 || (c.decoding && taken >= most))
      continue;
    taken += c.decoding;
    out.push_back(c);
  }
  return out;
}

/// Through stages go smaller slices: see policy/stage_batches.
policy::batching_limits limits_of(const state& st, const stage_path* path,
                                  const std::vector<policy::batch_candidate>& group) {
  auto limits = st.config.batching;
  if (!path)
    return limits;
  auto slice = std::min(limits.slice_rows, most_stage_rows);
  for (const auto& s : st.sessions)
    if (s.path.get() == path && s.slice_rows)
      slice = std::min(slice, s.slice_rows);
  auto decoding = static_cast<uint32_t>(
      std::count_if(group.begin(), group.end(), [](const auto& c) { return c.decoding; }));
  limits.slice_rows = slice;
  limits.max_rows = std::min({limits.max_rows, most_stage_rows, decoding + slice});
  return limits;
}

/// The paths that sessions have, none (the hub) among them; first the one after the last served.
std::vector<stage_path_ptr> paths_in_turn(const state& st) {
  std::vector<stage_path_ptr> out;
  for (const auto& s : st.sessions)
    if (std::find(out.begin(), out.end(), s.path) == out.end())
      out.push_back(s.path);
  if (out.size() > 1)
    for (size_t i = 0; i < out.size(); ++i)
      if (out[i].get() == st.last_path) {
        std::rotate(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(i + 1), out.end());
        break;
      }
  return out;
}

/// Adds a share's rows to the step: where they stand, and whose logits are wanted.
void add_share(state& st, scheduler_step& s, const policy::batch_share& share,
               std::vector<int32_t>& tokens) {
  auto& session = *find_session(st, share.id);
  auto from = session.tokens.begin() + session.fed;
  tokens.insert(tokens.end(), from, from + share.rows);
  s.segments.push_back({s.rows, share.rows, session.fed, session.pages});
  uint32_t end = session.fed + share.rows, wanted = share.logits;
  if (session.every_row) // those that were given before it was fed anew are not given again
    wanted =
        !share.logits || end <= session.scored ? 0 : std::min(share.rows, end - session.scored);
  for (uint32_t r = share.rows - wanted; r < share.rows; ++r)
    s.logit_rows.push_back(s.rows + r);
  s.shares.push_back({share.id, session.life, session.fed, share.rows, wanted});
  session.fed = end;
  ++session.slices;
  s.rows += share.rows;
}

// ---- layers

void layers_ran(self_ptr self, uint64_t number, const layers_done& done) {
  auto& st = self->state;
  if (!done.outcome.ok())
    return fail_step(self, number, done.outcome.err());
  auto& s = st.under_way.at(number);
  s.layers_us = us_between(s.began, steady::now());
  st.network += done.network;
  s.rounds += static_cast<uint32_t>(done.network.rounds);
  s.hops = done.hops;
  s.chosen = done.chosen;
  if (s.path)
    return send_to_stages(self, number);
  rows_done(self, number);
}

void run_layers(self_ptr self, scheduler_step& s, std::vector<int32_t> tokens) {
  auto& st = self->state;
  layers_work work{0,
                   layers_here(st, s),
                   s.rows,
                   std::move(s.segments),
                   std::move(tokens),
                   st.config.memory,
                   s.began,
                   {}};
  if (lender_of(*st.config.model))
    for (const auto& share : s.shares)
      work.sessions.insert(work.sessions.end(), share.rows, share.id);
  self->request(st.config.runner, caf::infinite, std::move(work))
      .then(
          [self, number = s.number](const layers_done& done) {
            auto measured = self->state.cost.measure();
            layers_ran(self, number, done);
          },
          [self, number = s.number](caf::error& why) { fail_step(self, number, from_caf(why)); });
}

/// False: no session has rows for this path, or enough steps are under way.
bool begin_step(self_ptr self, const stage_path_ptr& path) {
  auto& st = self->state;
  if (path &&
      under_way_on(st, path.get()) >= policy::most_batches(static_cast<uint32_t>(path->size())))
    return false;
  auto group = group_of(st, path.get());
  auto limits = limits_of(st, path.get(), group);
  auto shares = policy::plan_batch(std::move(group), limits);
  if (shares.empty())
    return false;
  auto number = ++st.next_step;
  auto& s = st.under_way[number];
  s.number = number;
  s.path = path;
  s.began = steady::now();
  std::vector<int32_t> tokens;
  for (const auto& share : shares)
    add_share(st, s, share, tokens);
  st.here = number;
  st.last_path = path.get();
  run_layers(self, s, std::move(tokens));
  return true;
}

// ---- tokens

void answered(self_ptr self, uint64_t number, const scheduler_step::share& share,
              const session_move& move) {
  auto& st = self->state;
  if (auto* s = find_session(st, share.id)) {
    s->scored = share.position + share.rows;
    if (move.what == session_move::kind::finish)
      s->leaving = true;
    if (move.what == session_move::kind::feed && !s->leaving) {
      s->tokens.push_back(move.token);
      ++st.tokens_out;
    }
  }
  if (--st.under_way.at(number).answers_due == 0)
    end_step(self, number);
}

/// Every session whose rows have logits draws its next token; the buffer is theirs until all have.
void give_logits(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto& s = st.under_way.at(number);
  uint32_t vocab = st.config.model->config().vocab, row = 0;
  std::vector<std::pair<scheduler_step::share, uint32_t>> live;
  for (const auto& share : s.shares) {
    if (share.wanted && find_session(st, share.id))
      live.emplace_back(share, row);
    row += share.wanted;
  }
  s.answers_due = static_cast<uint32_t>(live.size());
  if (live.empty())
    return end_step(self, number);
  for (const auto& [share, first] : live) {
    session_logits logits{
        share.id, share.position + share.rows - share.wanted,         share.wanted,
        vocab,    st.config.memory->buffers.logits_row(first, vocab), st.config.memory};
    self->request(find_session(st, share.id)->actor, caf::infinite, logits)
        .then([self, number,
               share = share](const session_move& move) { answered(self, number, share, move); },
              [self, number, share = share](caf::error&) { // the session is gone
                answered(self, number, share, {session_move::kind::finish, 0});
              });
  }
}

void ask_head(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto& s = st.under_way.at(number);
  s.dispatched = steady::now();
  auto rows = s.returned.empty()
                  ? s.rows
                  : static_cast<uint32_t>(s.returned.size() / st.config.model->config().hidden);
  self->request(st.config.head, caf::infinite, head_work{rows, s.logit_rows, st.config.memory})
      .then(
          [self, number](const layer_done& done) {
            auto& now = self->state;
            auto measured = now.cost.measure();
            if (!done.outcome.ok())
              return fail_step(self, number, done.outcome.err());
            auto layers = now.config.model->config().layers;
            auto& step = now.under_way.at(number);
            step.hops.push_back(hop_here("head", layers, step.began, done.run_us));
            add_network(now.network, step.hops, done, layers, step.began, step.dispatched);
            give_logits(self, number);
          },
          [self, number](caf::error& why) { fail_step(self, number, from_caf(why)); });
}

/// Rows that came back from stages are at the head of the memory.
void take_up(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto& s = st.under_way.at(number);
  st.here = number;
  st.config.model->device->write(st.config.memory->buffers.residual->f32(), s.returned.data(),
                                 s.returned.size() * sizeof(float));
  for (uint32_t i = 0; i < s.logit_rows.size(); ++i)
    s.logit_rows[i] = i;
  // Who was fed anew meanwhile gets its logits then.
  for (auto& share : s.shares)
    if (!live_session(st, share) && share.wanted) {
      auto first = s.logit_rows.begin();
      for (const auto& before : s.shares) {
        if (&before == &share)
          break;
        first += before.wanted;
      }
      s.logit_rows.erase(first, first + share.wanted);
      share.wanted = 0;
    }
  if (s.logit_rows.empty())
    return end_step(self, number);
  ask_head(self, number);
}

// ---- counts

/// The session asked how its first tokens are routed: to be decoded elsewhere, which is of no use
/// where its layers already are.
void add_to_probe(self_ptr self, state::running& s, uint32_t first_row,
                  const scheduler_step::share& share) {
  auto& st = self->state;
  auto& probe = *s.probe;
  const auto& routed = st.stats->last_step();
  constexpr auto enough = policy::homing_options{}.prompt_tokens;
  for (uint32_t r = 0; r < share.rows && probe.routing.tokens() < enough; ++r)
    probe.routing.append(routed[first_row + r], 0);
  probe.fed = share.position + share.rows;
  if (probe.routing.tokens() < enough) // a short prompt says little: its answer is looked at too
    return;
  probe.sessions = static_cast<uint32_t>(st.sessions.size() - 1);
  if (!s.path)
    self->send(s.actor, session_probe_ptr(std::move(s.probe)));
  s.probe.reset();
}

/// `chosen` are [layers, rows, top_k].
void note_routing(self_ptr self, const scheduler_step& s) {
  auto& st = self->state;
  const auto& c = st.config.model->config();
  size_t width = size_t{s.rows} * c.top_k;
  st.stats->begin_step(s.rows);
  for (uint32_t l = 0; l < c.layers; ++l)
    st.stats->add_layer(static_cast<layer_id>(l), {s.chosen.data() + l * width, width});
  st.stats->end_step();
  uint32_t row = 0;
  for (const auto& share : s.shares) {
    if (auto* session = live_session(st, share); session && session->probe)
      add_to_probe(self, *session, row, share);
    row += share.rows;
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

/// Of steps of one token, which plans predict.
void note_decode(state& st, const scheduler_step& s, uint32_t took_us) {
  constexpr double fresh = 0.05;
  if (s.rows != 1 || s.logit_rows.size() != 1)
    return;
  auto& n = st.network;
  double share = n.decode_steps++ ? fresh : 1;
  n.decode_us += share * (took_us - n.decode_us);
  n.decode_rounds += share * (s.rounds - n.decode_rounds);
  st.config.model->costs->ended_token(took_us - static_cast<double>(s.layers_us));
}

} // namespace

void go_on(self_ptr self) {
  auto& st = self->state;
  while (!st.here && !st.back.empty()) {
    auto number = st.back.front();
    st.back.pop_front();
    if (st.under_way.contains(number))
      return take_up(self, number); // its end goes on
  }
  for (bool began = true; !st.here && began;) {
    began = false;
    for (const auto& path : paths_in_turn(st))
      if (begin_step(self, path)) {
        began = true;
        break;
      }
  }
}

void rows_done(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto& s = st.under_way.at(number);
  note_routing(self, s);
  if (s.logit_rows.empty())
    return end_step(self, number);
  if (!s.path)
    return ask_head(self, number);
  st.back.push_back(number);
  go_on(self);
}

void end_step(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto done = std::move(st.under_way.extract(number).mapped());
  if (st.here == number)
    st.here.reset();
  auto total = static_cast<uint32_t>(us_between(done.began, steady::now()));
  note_decode(st, done, total);
  ++st.steps;
  ++st.network.steps;
  st.network.rows += done.rows;
  st.network.step_us += total;
  for (const auto& share : done.shares)
    if (auto* s = find_session(st, share.id)) {
      uint32_t index = s->traces.empty() ? 0 : s->traces.back().index + 1;
      s->traces.push_back({index, total, done.hops});
      if (s->traces.size() > traces_per_request)
        s->traces.pop_front();
    }
  settle(self);
  go_on(self);
}

void fail_step(self_ptr self, uint64_t number, const error& why) {
  auto& st = self->state;
  for (const auto& share : st.under_way.at(number).shares)
    if (auto* s = find_session(st, share.id)) {
      self->send(s->actor, why);
      s->leaving = true;
    }
  end_step(self, number);
}

} // namespace coel::actors
