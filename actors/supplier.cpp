#include "actors/supplier.hpp"

#include "actors/errors.hpp"
#include "actors/foreseer.hpp"
#include "actors/lower_copies.hpp"
#include "actors/supplier_lower.hpp"
#include "actors/supplier_packing.hpp"
#include "actors/supplier_pool.hpp"
#include "actors/supplier_store.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <iterator>

namespace coel::actors {

namespace {

using order = policy::supply_order;
using found = policy::expert_supply::found;

/// A step with so many rows asks for nearly every expert of a layer, and of the next.
constexpr uint32_t prompt_rows = 32;
constexpr uint32_t most_jobs_ahead = 4;
/// Of a disk that has not been measured yet.
constexpr double usual_read_us = 5000;

double now_us() {
  return std::chrono::duration<double, std::micro>(steady::now().time_since_epoch()).count();
}

policy::foresight::state_of states(const supplier_state& st) {
  return [&st](expert_key key) { return st.supply->is(key); };
}

void carry_out(supplier_ptr self);

// ---- orders

/// One of its matrices; a failure comes as an answer too.
model::read_ticket read_piece(supplier_ptr self, const order& o, uint32_t piece,
                              model::file_piece from) {
  auto address = caf::actor_cast<caf::weak_actor_ptr>(supplier_actor{self});
  auto post = [address, id = o.job, piece](result<model::staged_read> got) {
    if (auto to = caf::actor_cast<caf::strong_actor_ptr>(address))
      caf::anon_send(
          caf::actor_cast<supplier_actor>(to),
          piece_arrived{id, piece, std::make_shared<result<model::staged_read>>(std::move(got))});
  };
  auto ticket = self->state.reader->submit(
      {std::move(from)}, o.urgent ? model::read_priority::demand : model::read_priority::prefetch,
      post);
  if (!ticket)
    post(ticket.err());
  return ticket ? *ticket : model::read_ticket{};
}

void read(supplier_ptr self, const order& o) {
  auto& st = self->state;
  auto& j = st.jobs[o.job];
  j.key = o.key;
  j.since = steady::now();
  j.urgent = o.urgent;
  j.alone = o.urgent && st.jobs.size() == 1;
  j.lazy = o.ahead;
  if (has_store(st))
    return read_stored(self, o.job);
  auto pieces = st.config.model->tiered->files.pieces(o.key);
  if (!pieces) { // an answer, as of a read that failed
    j.reads_due = 1;
    auto failed = std::make_shared<result<model::staged_read>>(pieces.err());
    return caf::anon_send(supplier_actor{self}, piece_arrived{o.job, 0, failed});
  }
  j.reads_due = static_cast<uint32_t>(pieces->size());
  j.pieces.resize(pieces->size());
  for (uint32_t i = 0; i < pieces->size(); ++i)
    j.tickets.push_back(read_piece(self, o, i, std::move((*pieces)[i])));
}

void settle(supplier_ptr self, uint64_t job);

/// What has been read is not kept back any more.
void make_ready(supplier_ptr self, uint64_t job) {
  auto& j = self->state.jobs.at(job);
  j.lazy = false;
  for (auto& [piece, staged] : std::exchange(j.staged, {}))
    pack(self, {job, piece, std::move(staged)}, settle);
}

void hurry(supplier_ptr self, uint64_t job) {
  auto& st = self->state;
  auto& j = st.jobs.at(job);
  j.urgent = true;
  make_ready(self, job);
  for (auto t : j.tickets)
    st.reader->promote(t);
  auto others = std::stable_partition(st.packs_ahead.begin(), st.packs_ahead.end(),
                                      [&](const auto& p) { return p.job != job; });
  std::move(others, st.packs_ahead.end(), std::back_inserter(st.packs));
  st.packs_ahead.erase(others, st.packs_ahead.end());
}

/// What has been read already is dropped; `settle` answers when nothing is under way.
void cancel(supplier_state& st, uint64_t job) {
  auto& j = st.jobs.at(job);
  for (auto t : j.tickets)
    st.reader->cancel(t);
  if (std::exchange(j.lazy, false) && j.outcome)
    j.outcome = error{ec::cancelled, "nobody wants it any more"};
  j.staged.clear();
}

void add_to_mean(double& mean, double us) {
  mean = mean > 0 ? mean + (us - mean) / 32 : us;
}

void measure_demand(supplier_state& st, const supplier_state::job& j) {
  auto now = steady::now();
  auto us = static_cast<double>(us_between(j.since, now));
  add_to_mean(st.demand_us, us);
  st.config.model->tiered->demand_us = static_cast<uint64_t>(st.demand_us);
  if (!j.alone)
    return;
  add_to_mean(st.alone_us, us);
  add_to_mean(st.pack_us, static_cast<double>(us_between(j.read_at, now)));
}

/// It is whole, and it is wanted.
void finish(supplier_ptr self, uint64_t job) {
  auto& st = self->state;
  auto j = std::move(st.jobs.extract(job).mapped());
  auto made = assemble(self, j);
  if (!made)
    return st.supply->was_packed(job, made.err());
  auto expert = std::move(*made);
  st.checked[st.slot(j.key)] = has_store(st);
  st.config.model->tiered->board[st.slot(j.key)].bytes = expert->bytes;
  st.held[st.slot(j.key)] = std::move(expert);
  if (j.urgent)
    measure_demand(st, j);
  st.supply->was_packed(job, {});
}

/// Tells of a job of which nothing is under way any more, neither read nor packed.
void settle(supplier_ptr self, uint64_t job) {
  auto& st = self->state;
  auto& j = st.jobs.at(job);
  if (j.reads_due > 0 || j.packs_due > 0 || !j.staged.empty())
    return;
  auto outcome = j.outcome;
  if (!outcome)
    st.jobs.erase(job);
  st.supply->was_read(job, outcome);
  carry_out(self);
}

void let_go(supplier_state& st, expert_key key) {
  st.config.model->tiered->board[st.slot(key)].bytes = 0;
  st.held[st.slot(key)] = nullptr; // its memory is free when the last lease ends
}

void fail(supplier_state& st, const order& o) {
  st.to_say[o.step].failure =
      error{o.why.code, "expert " + to_string(o.key) + ": " + o.why.message};
}

void carry_out(supplier_ptr self, const order& o) {
  auto& st = self->state;
  using what = order::what;
  switch (o.kind) {
  case what::read:
    return read(self, o);
  case what::hurry:
    return hurry(self, o.job);
  case what::ready:
    return make_ready(self, o.job);
  case what::cancel:
    cancel(st, o.job);
    return settle(self, o.job);
  case what::pack:
    return finish(self, o.job);
  case what::drop:
    return (void)st.jobs.erase(o.job);
  case what::lend:
    return st.to_say[o.step].next.push_back(
        {o.lower ? take_lower(st, o.step, o.key) : st.held[st.slot(o.key)]});
  case what::fail:
    return fail(st, o);
  case what::evict:
    return let_go(st, o.key);
  }
}

void say(supplier_ptr self) {
  auto& st = self->state;
  for (auto& [step, words] : std::exchange(st.to_say, {})) {
    auto gate = st.gates.find(step);
    if (gate == st.gates.end())
      continue;
    words.step = step;
    bool over = words.failure.has_value();
    self->send(gate->second, std::move(words));
    if (over) {
      st.gates.erase(gate);
      st.lower.erase(step);
    }
  }
}

/// What one order brings about is carried out behind those before it.
void carry_out(supplier_ptr self) {
  auto& st = self->state;
  if (std::exchange(st.carrying_out, true))
    return;
  for (auto orders = st.supply->take_orders(); !orders.empty(); orders = st.supply->take_orders())
    for (const auto& o : orders)
      carry_out(self, o);
  st.carrying_out = false;
  say(self);
  settle_size(self);
  if (st.filled && !st.supply->filling()) {
    st.filled->deliver(st.supply->used_bytes());
    st.filled.reset();
    spawn_copy_maker(self); // what is pinned and filled is read first
  }
}

// ---- what others tell

void arrived(supplier_ptr self, const piece_arrived& what) {
  auto& st = self->state;
  auto& j = st.jobs.at(what.job);
  auto got = std::exchange(*what.got, error{ec::cancelled, "taken"}); // else held by the message
  --j.reads_due;
  j.read_at = steady::now();
  if (got)
    st.counted.read_bytes += got->read;
  if (got && j.outcome && has_store(st))
    return take_stored(self, what.job, std::move(*got), settle);
  if (got && j.outcome) {
    auto staged = std::make_shared<const model::staged_read>(std::move(*got));
    if (j.lazy)
      j.staged.emplace_back(what.piece, std::move(staged));
    else
      pack(self, {what.job, what.piece, std::move(staged)}, settle);
  } else if (!got && j.outcome) {
    j.outcome = got.err();
    cancel(st, what.job); // the rest is of no use
  }
  settle(self, what.job);
}

/// It has been read ahead, and has only to be packed.
bool is_read(const supplier_state& st, expert_key key) {
  return std::any_of(st.jobs.begin(), st.jobs.end(),
                     [&](const auto& j) { return j.second.key == key && j.second.reads_due == 0; });
}

/// The first ones say as much as is known.
void note_wait(supplier_state& st, bool waits) {
  constexpr double share = 1. / 512, first = 1. / 64;
  st.waited += ((waits ? 1 : 0) - st.waited) * std::max(share, 1. / ++st.waits_seen);
  if (st.waits_seen > 1 / first)
    st.config.model->tiered->waits = static_cast<float>(st.waited);
}

void count(supplier_state& st, const expert_claim& what, const std::vector<found>& how) {
  auto& l = st.counted.layers[index(what.layer)];
  for (size_t i = 0; i < how.size(); ++i) {
    bool read = how[i] == found::coming && is_read(st, {what.layer, what.experts[i].expert});
    ++(how[i] == found::here               ? l.hits
       : how[i] == found::foreseen || read ? l.foreseen
       : how[i] == found::coming           ? l.late
       : how[i] == found::lower            ? l.lower
                                           : l.misses);
    auto at = st.slot({what.layer, what.experts[i].expert});
    st.used[at] += what.experts[i].rows;
    st.config.model->tiered->board[at].rows += what.experts[i].rows;
    if (what.rows < prompt_rows)
      note_wait(st, how[i] == found::missing || (how[i] == found::coming && !read));
  }
  if (index(what.layer) + 1u == st.config.model->config().layers)
    st.counted.tokens += what.rows;
}

/// What others hold is asked of them: to read it ahead would be for nothing.
bool may_foresee(const supplier_state& st, expert_key key) {
  return st.left.empty() || st.left[st.slot(key)];
}

/// A prompt goes through the next layer after this one: all of it, in its order.
void foresee_all(supplier_state& st, layer_id after) {
  const auto& c = st.config.model->config();
  if (index(after) + 1u == c.layers)
    return; // what comes behind a prompt's last layer is another step
  std::vector<policy::expert_supply::wish> all;
  for (uint32_t e = 0; e < c.experts; ++e)
    if (expert_key key{static_cast<layer_id>(index(after) + 1u), static_cast<expert_id>(e)};
        may_foresee(st, key))
      all.push_back({key, 1.f});
  st.supply->foresee(all);
}

void claimed(supplier_ptr self, const expert_claim& what) {
  auto& st = self->state;
  if (rests(st))
    return refuse(self, what);
  st.clock.begins(what.layer, what.rows, steady::now());
  st.foresight->turn(what.layer, what.experts, states(st), now_us(),
                     st.demand_us > 0 ? st.demand_us : usual_read_us);
  st.gates[what.step] = caf::actor_cast<lease_listener>(self->current_sender());
  st.to_say[what.step]; // an answer at once, whatever it is
  auto lower = choose_lower(st, what);
  auto how = st.supply->begin(what.step, what.layer, what.experts, what.rows, lower);
  count(st, what, how);
  count_missed(st, what, how);
  if (what.rows >= prompt_rows)
    foresee_all(st, what.layer);
  carry_out(self);
}

void ran(supplier_ptr self, const experts_ran& what) {
  auto& st = self->state;
  if (rests(st))
    return;
  st.supply->ran(what.step, what.count);
  if (what.over) {
    st.clock.ends(what.stall_us, steady::now());
    st.supply->end(what.step);
    st.gates.erase(what.step);
    st.lower.erase(what.step);
  }
  carry_out(self);
}

void forecast(supplier_ptr self, const layer_forecast& what) {
  auto& st = self->state;
  if (rests(st))
    return;
  constexpr double share = 1. / 128;
  st.busy += ((st.jobs.empty() ? 0 : 1) - st.busy) * share;
  auto probability = what.probability;
  for (uint32_t e = 0; e < probability.size(); ++e)
    if (!may_foresee(st, {what.layer, static_cast<expert_id>(e)}))
      probability[e] = 0;
  st.supply->foresee(
      st.foresight->consider(what.layer, what.ahead, probability, states(st), now_us(), st.busy));
  carry_out(self);
}

// ---- start

void start(supplier_ptr self) {
  auto& st = self->state;
  const auto& m = *st.config.model;
  const auto& t = *m.tiered;
  const auto& c = m.config();
  policy::cache_shape shape{c.layers, c.experts};
  auto slots = static_cast<uint32_t>(t.plan.staging_bytes / t.files.largest_piece());
  auto jobs = t.store ? t.plan.staging_slots : std::max(slots / pieces_each, 1u);
  policy::supply_limits limits{t.plan.cache_bytes + t.plan.transient_bytes, jobs,
                               std::min(most_jobs_ahead, jobs - 1)};
  st.supply = std::make_unique<policy::expert_supply>(shape, t.resident_bytes(), limits,
                                                      policy::activation_aware(shape));
  st.foresight = std::make_unique<policy::foresight>(shape);
  st.held.resize(shape.slots());
  st.checked.resize(shape.slots());
  st.used.resize(shape.slots());
  st.counted.model = m.name;
  st.counted.experts = static_cast<uint32_t>(shape.slots());
  st.counted.layers.resize(c.layers);
  spawn_loaders(self);
}

result<void> wake(supplier_ptr self) {
  auto& st = self->state;
  if (!st.supply)
    start(self);
  return rests(st) ? begin_reading(self) : result<void>();
}

/// Most used in earlier runs first; where there was none, the first of every layer.
std::vector<expert_key> fill_order(const served_model& m) {
  const auto& c = m.config();
  std::vector<std::pair<float, expert_key>> all;
  auto before = learnt_before(m);
  for (uint32_t e = 0; e < c.experts; ++e)
    for (uint32_t l = 0; l < c.layers; ++l) {
      expert_key key{static_cast<layer_id>(l), static_cast<expert_id>(e)};
      all.emplace_back(before ? before->frequency(key.layer)[e] : 0.f, key);
    }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<expert_key> keys;
  keys.reserve(all.size());
  for (const auto& [uses, key] : all)
    keys.push_back(key);
  return keys;
}

caf::result<uint64_t> fill(supplier_ptr self) {
  auto& st = self->state;
  if (auto ok = wake(self); !ok)
    return to_caf(ok.err());
  auto promise = self->make_response_promise<uint64_t>();
  st.filled = promise;
  st.supply->fill(fill_order(*st.config.model));
  carry_out(self);
  return promise;
}

caf::result<uint64_t> take_order(supplier_ptr self, const pool_order& to) {
  if (auto ok = wake(self); !ok)
    return to_caf(ok.err());
  return resize(self, to, carry_out);
}

// ---- status

void add_prediction(const supplier_state& st, tiering_status& s) {
  s.token_us = st.clock.token_us();
  s.compute_us = st.clock.compute_us();
  const auto& t = *st.config.model->tiered;
  if (s.compute_us <= 0 || t.is_pool) // a cluster's plan has its own
    return;
  auto p =
      policy::predict_speed(t.needs, t.plan, policy::popularity_curve(st.used),
                            {s.compute_us, s.disk_bytes_per_s, has_store(st), answered_share(s)});
  s.predicted_hit_rate = p.hits;
  s.predicted_token_us = p.tokens_per_s > 0 ? 1e6 / p.tokens_per_s : 0;
}

void add_layers(const supplier_state& st, tiering_status& s, const predictor_status& p) {
  const auto& c = st.config.model->config();
  for (uint32_t l = 0; l < c.layers; ++l) {
    auto& layer = s.layers[l];
    auto id = static_cast<layer_id>(l);
    for (uint32_t e = 0; e < c.experts; ++e)
      layer.here +=
          st.supply->is({id, static_cast<expert_id>(e)}) == policy::expert_supply::state::resident;
    s.here += layer.here;
    layer.reads_ahead = st.foresight->on(id);
    layer.precision = st.foresight->precision(id);
    if (l < p.recall.size()) {
      layer.recall = p.recall[l];
      layer.recall_of_popular = p.recall_of_popular[l];
    }
  }
}

tiering_status status_of(const supplier_state& st, const predictor_status& p) {
  auto s = st.counted;
  if (rests(st))
    return s;
  auto disk = st.reader->status();
  s.cache_bytes = st.supply->pool_bytes();
  s.cache_used_bytes = st.supply->used_bytes();
  s.staging_bytes = disk.ring_bytes;
  s.disk_bytes_per_s = disk.bytes_per_s;
  s.demand_us = st.demand_us;
  s.reader = disk.engine + (has_store(st) ? ", store" : "");
  s.read_ahead_bytes = disk.counts.prefetch_bytes;
  s.wasted_bytes = st.supply->counted().wasted_bytes + disk.counts.wasted_bytes;
  s.failed_reads = st.supply->counted().failed;
  s.saved_us = st.foresight->saved_us();
  s.predict_us = p.busy_us;
  if (const auto& copies = st.config.model->tiered->lower) {
    auto here = copies->here();
    s.lower_type = to_string(copies->how().type());
    s.lower_copies = here.copies;
    s.lower_bytes = here.bytes;
  }
  add_prediction(st, s);
  add_layers(st, s, p);
  return s;
}

caf::result<tiering_status> details(supplier_ptr self) {
  if (!self->state.foreseer)
    return tiering_status{};
  auto promise = self->make_response_promise<tiering_status>();
  self->request(self->state.foreseer, caf::infinite, atom::details::value)
      .then([=](const predictor_status& p) mutable { promise.deliver(status_of(self->state, p)); },
            [=](caf::error&) mutable { promise.deliver(status_of(self->state, {})); });
  return promise;
}

} // namespace

supplier_actor::behavior_type supplier(supplier_ptr self, supplier_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "supplier", self->state.config.model->name);
      },
      [self](const expert_claim& what) {
        auto measured = self->state.cost.measure();
        claimed(self, what);
      },
      [self](const experts_ran& what) {
        auto measured = self->state.cost.measure();
        ran(self, what);
      },
      [self](const layer_forecast& what) {
        auto measured = self->state.cost.measure();
        forecast(self, what);
      },
      [self](atom::load) { return fill(self); },
      [self](const pool_order& to) { return take_order(self, to); },
      [self](atom::tick) { look_whether_to_rest(self); },
      [self](const piece_arrived& what) {
        auto measured = self->state.cost.measure();
        arrived(self, what);
      },
      [self](atom::release, expert_key key) {
        auto measured = self->state.cost.measure();
        self->state.supply->freed(key);
        carry_out(self);
      },
      [self](atom::details) { return details(self); },
  };
}

} // namespace coel::actors
