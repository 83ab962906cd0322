#include "actors/stage.hpp"

#include "actors/errors.hpp"
#include "common/finite.hpp"
#include "policy/kv_pages.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = stage_actor::stateful_pointer<stage_state>;
using job = stage_state::job;

constexpr std::chrono::seconds idle_look{5};

void next(self_ptr self);

policy::stage_book::moment now() {
  return std::chrono::duration_cast<policy::stage_book::moment>(steady::now().time_since_epoch());
}

void return_freed(self_ptr self) {
  auto& st = self->state;
  auto freed = st.book->take_freed();
  if (!freed.empty())
    self->send(st.config.scheduler, atom::release::value, std::move(freed));
}

// ---- rooms for sessions

result<void> may_open(const stage_state& st, node_id home, const stage_open& ask) {
  const auto& c = st.config;
  if (ask.model != c.model->hash)
    return {ec::unknown_model, "this node does not run that model"};
  if (ask.first >= ask.end || ask.end > c.model->config().layers)
    return {ec::bad_argument, "the model has " + std::to_string(c.model->config().layers) +
                                  " layers, not those asked for"};
  if (ask.tokens > c.context || policy::pages_for(ask.tokens, c.page_tokens) > c.pages)
    return {ec::too_long, std::to_string(ask.tokens) +
                              " tokens are more than this node has KV memory for: raise --kv"};
  if (c.view->stages.draining)
    return {ec::shutting_down, "it drains"};
  return st.book->may_open(home, ask.session);
}

caf::result<bool> open(self_ptr self, node_id home, const stage_open& ask) {
  auto& st = self->state;
  if (auto ok = may_open(st, home, ask); !ok) {
    ++st.counts.refused;
    return to_caf(ok.err());
  }
  auto promise = self->make_response_promise<bool>();
  self->request(st.config.scheduler, caf::infinite, atom::reserve::value,
                policy::pages_for(ask.tokens, st.config.page_tokens))
      .then(
          [=](std::vector<uint32_t>& pages) mutable {
            auto& state = self->state;
            if (auto ok = state.book->may_open(home, ask.session); !ok) {
              self->send(state.config.scheduler, atom::release::value, std::move(pages));
              ++state.counts.refused;
              promise.deliver(to_caf(ok.err()));
              return;
            }
            state.book->open(home, ask, std::move(pages), now());
            ++state.counts.sessions;
            promise.deliver(true);
          },
          [=](caf::error& why) mutable {
            ++self->state.counts.refused;
            promise.deliver(std::move(why));
          });
  return promise;
}

void close(self_ptr self, node_id home, const stage_close& what) {
  self->state.book->close(home, what.session);
  return_freed(self);
}

// ---- runs

/// The home hears of a failure and takes its sessions elsewhere; if it cannot be told, it finds out
/// by its deadline.
void answer(self_ptr self, node_id home, stage_answer said) {
  const auto& links = self->state.config.view->stages.links;
  if (auto to = links.find(home); to != links.end())
    self->request(to->second, caf::infinite, std::move(said)).then([](bool) {}, [](caf::error&) {});
}

void tell_failure(self_ptr self, const job& j, const error& why) {
  stage_answer said;
  said.model = j.run.model;
  said.run = j.run.run;
  said.outcome = why;
  said.costs = j.run.costs;
  ++self->state.counts.failed;
  answer(self, j.home, std::move(said));
}

/// The wanted rows of [rows, hidden].
std::vector<float> wanted_rows(const stage_run& run, const std::vector<float>& all) {
  std::vector<float> out;
  out.reserve(run.wanted.size() * run.hidden);
  for (auto r : run.wanted)
    out.insert(out.end(), all.begin() + static_cast<std::ptrdiff_t>(size_t{r} * run.hidden),
               all.begin() + static_cast<std::ptrdiff_t>(size_t{r + 1} * run.hidden));
  return out;
}

void send_on(self_ptr self, job j) {
  auto& st = self->state;
  const auto& stages = st.config.view->stages;
  auto node = stages.keys.find(j.run.hops.front().key);
  auto to = node == stages.keys.end() ? stages.links.end() : stages.links.find(node->second);
  if (to == stages.links.end())
    return tell_failure(self, j, {ec::io, "the next stage is not linked to this one"});
  auto run = j.run;
  j.run.values.clear();
  self->request(to->second, caf::infinite, std::move(run))
      .then([](bool) {},
            [=](caf::error& why) {
              auto reason = from_caf(why);
              tell_failure(self, j, {reason.code, "the next stage: " + reason.message});
            });
}

/// The rows have passed the layers: on to the next stage, or home.
void pass(self_ptr self, job j) {
  auto& st = self->state;
  const auto& m = *st.config.model;
  auto& run = j.run;
  run.values.resize(size_t{run.rows()} * run.hidden);
  m.device->read(run.values.data(), st.config.memory->buffers.residual->f32(),
                 run.values.size() * sizeof(float));
  if (!all_finite(run.values))
    return tell_failure(self, j,
                        {ec::bad_file, "its layers computed a value that is infinite or not a "
                                       "number: its copy of '" +
                                           m.name + "' may be damaged"});
  run.hops.erase(run.hops.begin());
  if (!run.hops.empty())
    return send_on(self, std::move(j));
  stage_answer said;
  said.model = run.model;
  said.run = run.run;
  said.hidden = run.hidden;
  said.values = wanted_rows(run, run.values);
  said.routing = std::move(run.routing);
  said.costs = run.costs;
  answer(self, j.home, std::move(said));
}

void add_routing(stage_run& run, const std::vector<int32_t>& chosen) {
  for (auto e : chosen)
    run.routing.push_back(static_cast<uint16_t>(e));
}

void ran(self_ptr self, const layers_done& done) {
  auto& st = self->state;
  auto j = std::move(*st.current);
  st.current.reset();
  st.book->ended(j.home, j.run.parts, done.outcome.ok(), now());
  auto& costs = j.run.costs;
  costs.wait_us += static_cast<uint32_t>(us_between(j.came, j.began));
  costs.run_us += static_cast<uint32_t>(us_between(j.began, steady::now()));
  costs.rounds += static_cast<uint32_t>(done.network.rounds);
  costs.wire_bytes += done.network.wire_bytes;
  ++st.counts.runs;
  st.counts.rows += j.run.rows();
  if (done.outcome.ok()) {
    add_routing(j.run, done.chosen);
    pass(self, std::move(j)); // before the next run has the memory
  } else {
    tell_failure(self, j, done.outcome.err());
  }
  return_freed(self);
  next(self);
}

layers_work work_of(const stage_state& st, const job& j) {
  const auto& hop = j.run.hops.front();
  layers_work work;
  work.first = hop.first;
  work.end = hop.end;
  work.memory = st.config.memory;
  work.began = j.began;
  for (const auto& p : j.run.parts) {
    work.segments.push_back({work.rows, p.rows, p.position, st.book->pages(j.home, p.session)});
    work.rows += p.rows;
  }
  return work;
}

void next(self_ptr self) {
  auto& st = self->state;
  if (st.current || st.queue.empty())
    return;
  auto& j = st.current.emplace(std::move(st.queue.front()));
  st.queue.pop_front();
  j.began = steady::now();
  st.config.model->device->write(st.config.memory->buffers.residual->f32(), j.run.values.data(),
                                 j.run.values.size() * sizeof(float));
  self->request(st.config.runner, caf::infinite, work_of(st, j))
      .then(
          [self](const layers_done& done) {
            auto measured = self->state.cost.measure();
            ran(self, done);
          },
          [self](caf::error& why) {
            layers_done failed;
            failed.outcome = from_caf(why);
            ran(self, failed);
          });
}

result<void> check(const stage_state& st, const stage_run& run) {
  const auto& c = st.config.model->config();
  if (run.model != st.config.model->hash)
    return {ec::unknown_model, "this node does not run that model"};
  if (run.hidden != c.hidden || run.top_k != c.top_k || run.hops.empty() ||
      run.hops.front().end > c.layers || run.rows() > st.config.memory->buffers.max_rows ||
      run.values.size() != size_t{run.rows()} * run.hidden)
    return {ec::bad_frame, "a run does not fit the model's shape"};
  if (st.queue.size() >= st.config.max_queue)
    return {ec::busy, "as many runs wait as there may"};
  return {};
}

caf::result<bool> take(self_ptr self, const stage_run& run) {
  auto& st = self->state;
  const auto& keys = st.config.view->stages.keys;
  auto home = keys.find(run.home);
  if (home == keys.end())
    return to_caf({ec::io, "the run's home is not linked to this stage"});
  job j{home->second, run, steady::now(), {}};
  auto ok = check(st, run);
  if (ok)
    ok = st.book->begin(j.home, run.hops.front(), run.parts, now());
  if (!ok) {
    tell_failure(self, j, ok.err());
    return true;
  }
  st.queue.push_back(std::move(j));
  next(self);
  return true;
}

// ---- the cluster

void take_view(self_ptr self, const route_view_ptr& view) {
  auto& st = self->state;
  st.config.view = view;
  std::set<node_id> up{this_node};
  for (const auto& [node, link] : view->stages.links)
    up.insert(node);
  st.book->keep_homes(up);
  return_freed(self);
}

} // namespace

stage_actor::behavior_type stage(self_ptr self, stage_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  st.book.emplace(st.config.limits);
  self->delayed_send(self, idle_look, atom::tick::value);
  return {
      [self](atom::status) {
        const auto& s = self->state;
        return s.cost.status(self, "stage", s.config.model->name);
      },
      [self](const stage_open& ask) { return open(self, this_node, ask); },
      [self](const stage_close& what) { close(self, this_node, what); },
      [self](const stage_run& run) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        return take(self, run);
      },
      [self](const stage_answer& said) -> caf::result<bool> {
        self->send(self->state.config.scheduler, said);
        return true;
      },
      [self](node_id home, const stage_open& ask) { return open(self, home, ask); },
      [self](node_id home, const stage_close& what) { close(self, home, what); },
      [self](atom::publish, const route_view_ptr& view) { take_view(self, view); },
      [self](atom::tick) {
        self->state.book->close_idle(now());
        return_freed(self);
        self->delayed_send(self, idle_look, atom::tick::value);
      },
      [self](atom::details) {
        auto counts = self->state.counts;
        counts.open = static_cast<uint32_t>(self->state.book->open_sessions());
        return counts;
      },
  };
}

} // namespace coel::actors
