#include "actors/errors.hpp"
#include "actors/scheduler_parts.hpp"
#include "policy/stage_batches.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = scheduler_ptr;
using state = scheduler_state;

constexpr std::chrono::milliseconds tick_every{50};

bool is_usable(const state& st, const stage_path& path) {
  return st.view && std::all_of(path.begin(), path.end(), [&](const stage_place& p) {
           return st.view->stages.links.contains(p.node) &&
                  !st.view->stages.leaving.contains(p.node);
         });
}

/// This node's own first layers need no room elsewhere.
size_t first_elsewhere(const stage_path& path) {
  return path.front().node == this_node ? 1 : 0;
}

state::running* opening_session(state& st, request_id id, uint64_t number) {
  auto* s = find_session(st, id);
  return s && s->at_stages == number && s->opening ? s : nullptr;
}

void opened(self_ptr self, state::running& s) {
  if (--s.opening)
    return;
  auto& st = self->state;
  if (s.refused) {
    close_stages(self, s);
    s.path = nullptr;
    ++st.network.refused;
  }
  settle(self);
  go_on(self);
}

void open_one(self_ptr self, const state::running& s, const stage_place& place) {
  auto& st = self->state;
  const auto& hash = st.config.model->hash;
  stage_open ask{hash, s.at_stages, s.max_tokens, place.first, place.end};
  auto link = st.view->stages.links.at(place.node);
  self->request(link, caf::infinite, ask)
      .then(
          [self, link, ask, id = s.id](bool) {
            if (auto* now = opening_session(self->state, id, ask.session))
              opened(self, *now);
            else
              self->send(link, stage_close{ask.model, ask.session}); // it left meanwhile
          },
          [self, ask, id = s.id](caf::error& why) {
            auto& now = self->state;
            if (auto* still = opening_session(now, id, ask.session)) {
              still->refused = true;
              now.stage_note = from_caf(why).message;
              opened(self, *still);
            }
          });
}

/// One of its stages is lost, and the keys and values there with it: all of its tokens are fed
/// again, by the present plan.
void feed_anew(self_ptr self, state::running& s, const error& why) {
  auto& st = self->state;
  auto lost = s.path;
  close_stages(self, s);
  s.path = nullptr;
  s.opening = 0;
  s.fed = s.slices = 0;
  s.anew = true;
  s.probe.reset();
  ++s.life;
  ++st.network.moved;
  st.stage_note = why.message;
  if (st.path && *st.path != *lost)
    open_stages(self, s);
}

/// What the step was for is fed anew.
void lose_step(self_ptr self, uint64_t number, const error& why) {
  auto& st = self->state;
  auto lost = std::move(st.under_way.extract(number).mapped());
  for (const auto& share : lost.shares)
    if (auto* s = live_session(st, share); s && s->path)
      feed_anew(self, *s, why);
  settle(self);
  go_on(self);
}

bool is_away(const scheduler_step& s) {
  return s.away != steady::time_point{};
}

/// What a stage says of a run fits what was asked.
result<void> check(const state& st, const scheduler_step& s, const stage_answer& said) {
  const auto& c = st.config.model->config();
  size_t layers_there = c.layers - layers_here(st, s);
  if (said.values.size() != s.logit_rows.size() * size_t{c.hidden} ||
      (!said.values.empty() && said.hidden != c.hidden) ||
      said.routing.size() != size_t{c.layers} * s.rows * c.top_k)
    return {ec::bad_frame, "a stage answered with rows of another shape than was asked for"};
  bool known = std::all_of(said.routing.begin(), said.routing.end(),
                           [&](uint16_t e) { return e < c.experts; });
  if (!known || layers_there == 0)
    return {ec::bad_frame, "a stage answered with experts that the model does not have"};
  return {};
}

void note_stages(state& st, scheduler_step& s, const stage_answer& said) {
  auto took = us_between(s.away, steady::now());
  auto& n = st.network;
  size_t hops = s.path->size() - first_elsewhere(*s.path) + 1;
  n.hops += hops;
  n.stage_us += took;
  s.layers_us += took;
  n.rounds += said.costs.rounds;
  n.wire_bytes += said.costs.wire_bytes;
  s.rounds += said.costs.rounds;
  const auto& first = (*s.path)[first_elsewhere(*s.path)];
  s.hops.push_back({"stages", static_cast<uint16_t>(first.first),
                    static_cast<uint32_t>(us_between(s.began, s.away)), static_cast<uint32_t>(took),
                    first.node, said.costs.wait_us + said.costs.run_us});
}

void watch(self_ptr self) {
  if (!std::exchange(self->state.ticking, true))
    self->delayed_send(self, tick_every, atom::tick::value);
}

} // namespace

uint32_t layers_here(const state& st, const scheduler_step& s) {
  if (!s.path)
    return st.config.model->config().layers;
  return s.path->front().node == this_node ? s.path->front().end : 0;
}

void open_stages(self_ptr self, state::running& s) {
  auto& st = self->state;
  if (!st.path || !is_usable(st, *st.path))
    return;
  s.path = st.path;
  s.at_stages = ++st.next_at_stages;
  s.refused = false;
  const auto& m = *st.config.model;
  policy::slice_cost cost{m.costs->speed(this_node), m.costs->dense(this_node, m.config().vocab),
                          m.experts_per_layer,
                          m.config().top_k + m.experts_per_layer - m.config().experts};
  s.slice_rows = policy::slice_rows_for(static_cast<uint32_t>(s.tokens.size()),
                                        static_cast<uint32_t>(s.path->size()), cost,
                                        std::min(most_stage_rows, st.config.batching.slice_rows));
  auto path = s.path;
  size_t first = first_elsewhere(*path);
  s.opening = static_cast<uint32_t>(path->size() - first);
  for (size_t i = first; i < path->size(); ++i)
    open_one(self, s, (*path)[i]);
}

void close_stages(self_ptr self, const state::running& s) {
  auto& st = self->state;
  if (!s.path)
    return;
  for (size_t i = first_elsewhere(*s.path); i < s.path->size(); ++i)
    if (auto to = st.view->stages.links.find((*s.path)[i].node); to != st.view->stages.links.end())
      self->send(to->second, stage_close{st.config.model->hash, s.at_stages});
}

void send_to_stages(self_ptr self, uint64_t number) {
  auto& st = self->state;
  auto& s = st.under_way.at(number);
  const auto& m = *st.config.model;
  stage_run run;
  run.model = m.hash;
  run.run = number;
  run.home = st.view->stages.own_key;
  run.hidden = m.config().hidden;
  run.top_k = m.config().top_k;
  size_t first = first_elsewhere(*s.path);
  for (size_t i = first; i < s.path->size(); ++i)
    run.hops.push_back({(*s.path)[i].key, (*s.path)[i].first, (*s.path)[i].end});
  for (const auto& share : s.shares) {
    const auto* session = find_session(st, share.id);
    run.parts.push_back({session ? session->at_stages : 0, share.position, share.rows});
  }
  run.wanted = s.logit_rows;
  run.routing.assign(s.chosen.begin(), s.chosen.end());
  run.values.resize(size_t{s.rows} * run.hidden);
  m.device->read(run.values.data(), st.config.memory->buffers.residual->f32(),
                 run.values.size() * sizeof(float));
  s.away = steady::now();
  st.here.reset();
  watch(self);
  auto link = st.view->stages.links.find((*s.path)[first].node);
  bool live = std::all_of(s.shares.begin(), s.shares.end(),
                          [&](const auto& share) { return live_session(st, share); });
  if (!live || link == st.view->stages.links.end())
    return lose_step(self, number, {ec::io, "a stage of the plan is gone"});
  self->request(link->second, caf::infinite, std::move(run))
      .then([](bool) {},
            [self, number](caf::error& why) {
              if (self->state.under_way.contains(number))
                lose_step(self, number, from_caf(why));
            });
  go_on(self);
}

void take_answer(self_ptr self, const stage_answer& said) {
  auto& st = self->state;
  auto at = st.under_way.find(said.run);
  if (at == st.under_way.end() || !is_away(at->second))
    return; // given up before
  auto& s = at->second;
  if (!said.outcome.ok())
    return lose_step(self, said.run, said.outcome.err());
  if (auto ok = check(st, s, said); !ok)
    return lose_step(self, said.run, ok.err());
  note_stages(st, s, said);
  s.away = {};
  s.chosen.assign(said.routing.begin(), said.routing.end());
  s.returned = said.values;
  rows_done(self, said.run);
}

void take_view(self_ptr self, const route_view_ptr& view) {
  auto& st = self->state;
  st.view = view;
  if (view->stages.path.empty())
    st.path = nullptr;
  else if (!st.path || *st.path != view->stages.path)
    st.path = std::make_shared<const stage_path>(view->stages.path);
  error gone{ec::io, "a stage of the plan is gone or drains"};
  for (auto& s : st.sessions)
    if (s.path && !s.leaving && !is_usable(st, *s.path))
      feed_anew(self, s, gone);
  std::erase_if(st.under_way, [&](const auto& one) {
    return is_away(one.second) && !is_usable(st, *one.second.path);
  });
  settle(self);
  go_on(self);
}

void give_up_late_runs(self_ptr self) {
  auto& st = self->state;
  st.ticking = false;
  std::vector<uint64_t> late;
  bool any = false;
  for (const auto& [number, s] : st.under_way)
    if (is_away(s)) {
      any = true;
      if (steady::now() - s.away >= st.config.stage_patience)
        late.push_back(number);
    }
  for (auto number : late)
    lose_step(self, number, {ec::deadline, "a stage did not answer in time"});
  if (any)
    watch(self);
}

} // namespace coel::actors
