#include "actors/tiered_model.hpp"

#include <algorithm>

namespace coel::actors {

namespace {

/// Rows of decoding sessions that are predicted for one by one.
constexpr size_t most_streams = 16;
/// A step with so many rows asks for nearly every expert of a layer.
constexpr uint32_t prompt_rows = 32;
/// Reads ahead at once: the one that runs and one that follows it.
constexpr uint32_t most_jobs_ahead = 3;
/// The less sure, the further: what is read for nothing delays what is waited for.
constexpr std::array<float, 3> least_probability{0.5f, 0.6f, 0.7f};
/// What a read for nothing costs of its own time: a demand comes upon it about so often.
constexpr double waste_share = 0.5;
/// What a read that is under way when it is wanted has saved, where that was only tried in thought.
constexpr double shadow_share = 0.5;
constexpr uint64_t forget_after_steps = 4096;

} // namespace

tiered_model::tiered_model(served_model_ptr model, surroundings around)
    : model_(std::move(model)), around_(std::move(around)), files_(model_->tiered->files),
      cache_({model_->config().layers, model_->config().experts},
             model_->tiered->plan.cache_bytes,
             policy::activation_aware({model_->config().layers, model_->config().experts})),
      switches_(model_->config().layers), held_(cache_.shape().slots()),
      used_(cache_.shape().slots()) {
  const auto& c = model_->config();
  policy::routing_shape shape{c.layers, c.experts, c.top_k};
  predictor_ = std::make_unique<policy::expert_predictor>(shape);
  counted_.model = model_->name;
  counted_.experts = c.layers * c.experts;
  counted_.layers.resize(c.layers);
}

result<std::unique_ptr<tiered_model>> tiered_model::make(served_model_ptr model,
                                                         const surroundings& around) {
  std::unique_ptr<tiered_model> made(new tiered_model(std::move(model), around));
  model::disk_reader::options how;
  how.slot_bytes = made->files_.largest_read();
  how.slots = made->model_->tiered->plan.staging_slots;
  how.engine = made->model_->tiered->engine;
  auto reader = model::disk_reader::start(how);
  if (!reader)
    return reader.err();
  made->reader_ = std::move(*reader);
  auto routers = model::deep_routers::load(*made->model_->source);
  if (!routers)
    return routers.err();
  made->routers_ = std::move(*routers);
  return made;
}

// --- what is asked for ----------------------------------------------------------------------------

bool tiered_model::in_use(expert_key k) const {
  const auto& w = held_[slot(k)].weights;
  return !w || w.use_count() > 1 || // not there yet: somebody waits for it
         wanted_.count(k) > 0;
}

void tiered_model::demand(expert_key key, answer to) {
  if (held(key))
    return to(ahead_.count(key) ? use_ahead(key) : held_[slot(key)]);
  auto at = jobs_.find(key);
  if (at == jobs_.end())
    return start(key, purpose::demand, std::move(to));
  at->second.waiting.push_back(std::move(to));
  note_waiting();
  hurry(at->second);
}

/// Somebody waits for it now, or is about to.
void tiered_model::hurry(job& j) {
  if (j.why == purpose::demand)
    return;
  j.why = purpose::demand;
  j.turn = next_turn_++;
  reader_->promote(j.ticket);
  pack_what_fits();
}

void tiered_model::note_here(expert_key key) {
  if (auto at = wanted_.find(key); at != wanted_.end())
    at->second = true;
}

/// One layer runs at a time: what another was waiting for is what a failed step has left.
void tiered_model::give_up_old() {
  std::vector<expert_key> old;
  for (const auto& [key, j] : jobs_)
    if (j.why == purpose::demand && !j.packing && !wanted_.count(key))
      old.push_back(key);
  for (auto key : old) {
    auto& j = jobs_.at(key);
    if (j.staged) {
      fail(key, {ec::cancelled, "the step that wanted it has failed"});
    } else {
      j.why = purpose::ahead;
      reader_->cancel(j.ticket);
    }
  }
}

/// The gate is going to ask for these, in this order: their reads begin before any that is ahead.
void tiered_model::expect(layer_id layer, const std::set<expert_id>& used) {
  wanted_.clear();
  for (auto e : used)
    wanted_[{layer, e}] = held({layer, e});
  give_up_old();
  for (auto [key, here] : std::map(wanted_)) { // a read that fails at once takes its out
    if (here)
      continue;
    if (auto at = jobs_.find(key); at != jobs_.end())
      hurry(at->second);
    else
      start(key, purpose::demand, {});
  }
}

void tiered_model::start(expert_key key, purpose why, answer to) {
  auto& j = jobs_[key];
  j.id = next_job_++;
  j.why = why;
  j.turn = why == purpose::demand ? next_turn_++ : 0;
  if (to)
    j.waiting.push_back(std::move(to));
  note_waiting();
  read(key, j);
}

void tiered_model::read(expert_key key, job& j) {
  auto pieces = files_.pieces(key);
  if (!pieces)
    return fail(key, pieces.err());
  auto priority = j.why == purpose::ahead ? model::read_priority::prefetch
                                          : model::read_priority::demand;
  auto ticket = reader_->submit(std::move(*pieces), priority,
                                [post = around_.post, key, id = j.id](auto got) {
                                  post(key, id, std::move(got));
                                });
  if (!ticket)
    return fail(key, ticket.err());
  j.ticket = *ticket;
}

void tiered_model::fail(expert_key key, const error& why) {
  auto node = jobs_.extract(key);
  std::erase(read_, key);
  wanted_.erase(key); // those behind it need not wait for it
  if (node.mapped().admitted)
    cache_.erase(key);
  error told{why.code, "expert " + to_string(key) + ": " + why.message};
  note_waiting();
  for (auto& tell : node.mapped().waiting)
    tell(told);
}

/// Nobody wants it: its bytes were read for nothing.
void tiered_model::discard(expert_key key) {
  auto node = jobs_.extract(key);
  std::erase(read_, key);
  if (node.mapped().admitted)
    cache_.erase(key);
  if (node.mapped().staged)
    counted_.wasted_bytes += node.mapped().staged->read;
}

void tiered_model::arrived(expert_key key, uint64_t id, result<model::staged_read> got) {
  auto at = jobs_.find(key);
  if (at == jobs_.end() || at->second.id != id)
    return;
  auto& j = at->second;
  if (!got) {
    if (got.err().code == ec::cancelled && j.why == purpose::demand)
      return read(key, j); // somebody came while it was being given up
    if (got.err().code != ec::cancelled && !j.waiting.empty() && !std::exchange(j.repeated, true)) {
      ++counted_.failed_reads;
      return read(key, j); // disks and cables have bad moments; and it may have begun for others
    }
    if (got.err().code != ec::cancelled)
      ++counted_.failed_reads;
    bool warming = j.why == purpose::warm;
    fail(key, got.err());
    if (warming)
      warm_more();
    return pack_what_fits();
  }
  counted_.read_bytes += got->read;
  if (j.why == purpose::ahead)
    counted_.read_ahead_bytes += got->read;
  j.staged = std::make_shared<model::staged_read>(std::move(*got));
  read_.push_back(key);
  pack_what_fits();
  free_a_slot();
}

/// All slots hold what waits for memory, and what comes before it has no slot to be read into (its
/// first read has failed): the last of them is read again, behind it.
void tiered_model::free_a_slot() {
  if (read_.size() < model_->tiered->plan.staging_slots)
    return;
  auto first = std::find_if(wanted_.begin(), wanted_.end(), [](const auto& w) { return !w.second; });
  if (first == wanted_.end())
    return;
  auto next = jobs_.find(first->first);
  if (next == jobs_.end() || next->second.staged || next->second.packing)
    return;
  auto last = *std::max_element(read_.begin(), read_.end());
  std::erase(read_, last);
  auto& j = jobs_.at(last);
  counted_.wasted_bytes += j.staged->read;
  j.staged.reset();
  read(last, j);
}

// --- memory ---------------------------------------------------------------------------------------

/// Lets the cache count it, if it is worth more than what has to go for it.
bool tiered_model::admit(expert_key key) {
  auto bytes = files_.resident_bytes(key);
  auto d = cache_.decide(key, bytes, [this](expert_key v) { return in_use(v); });
  if (!d.admit)
    return false;
  for (auto victim : d.victims)
    drop(victim);
  cache_.insert(key, bytes);
  return true;
}

void tiered_model::drop(expert_key key) {
  cache_.erase(key);
  orphans_.erase(key);
  if (ahead_.erase(key))
    ahead_bytes_ -= files_.resident_bytes(key);
  held_[slot(key)] = {}; // its memory is free when the last lease ends
}

/// Of the memory for what is not kept, the part that what is waited for never needs.
uint64_t tiered_model::ahead_limit() const {
  uint64_t waited_for = uint64_t{model_->config().top_k + 1} * files_.largest_resident();
  auto all = model_->tiered->plan.transient_bytes;
  return all > waited_for ? all - waited_for : 0;
}

uint64_t tiered_model::ahead_room() const {
  return ahead_limit() > ahead_bytes_ ? ahead_limit() - ahead_bytes_ : 0;
}

/// Whether what is read ahead now will find memory, behind what already is on its way for that.
bool tiered_model::has_room_ahead() const {
  return ahead_room() >= (jobs_ahead() + uint64_t{1}) * files_.largest_resident();
}

void tiered_model::drop_one_orphan() {
  auto at = std::find_if(orphans_.begin(), orphans_.end(),
                         [this](expert_key k) { return !wanted_.count(k); });
  if (at == orphans_.end())
    return;
  auto key = *at;
  counted_.wasted_bytes += files_.resident_bytes(key);
  drop(key);
}

/// Whether it is the first of its layer that has no memory yet: it may take the last. Experts are
/// run in order, so those before it run and leave, and those behind it wait for it.
bool tiered_model::is_next(expert_key key, const job& j) const {
  auto first = std::find_if(wanted_.begin(), wanted_.end(), [](const auto& w) { return !w.second; });
  if (first != wanted_.end())
    return first->first == key;
  return j.why == purpose::demand && std::none_of(jobs_.begin(), jobs_.end(), [&](const auto& o) {
           return o.second.why == purpose::demand && !o.second.packing && o.second.turn < j.turn;
         });
}

/// Takes memory for an expert that has been read, or gives it up; false: later.
bool tiered_model::make_room(expert_key key, job& j) {
  auto bytes = files_.resident_bytes(key);
  if (!j.admitted)
    j.admitted = admit(key);
  bool waited_for = j.why == purpose::demand;
  if (!waited_for && !j.admitted && (j.why == purpose::warm || ahead_room() < bytes)) {
    bool warming = j.why == purpose::warm;
    discard(key);
    if (warming)
      warm_more();
    return true;
  }
  if (around_.take(bytes, is_next(key, j) ? 0 : files_.largest_resident())) {
    j.packing = true;
    std::erase(read_, key);
    around_.pack({model_, key, std::move(j.staged), bytes});
    return true;
  }
  // What is read ahead leaves the next one its memory; only what nobody came for can lack it.
  if (is_next(key, j))
    drop_one_orphan(); // it comes back by `freed`
  return false;
}

/// What is waited for comes first, and among it what was asked for first.
void tiered_model::pack_what_fits() {
  std::vector<std::pair<uint64_t, expert_key>> order;
  for (auto key : read_) {
    const auto& j = jobs_.at(key);
    order.emplace_back(j.why == purpose::demand ? j.turn : UINT64_MAX, key);
  }
  std::sort(order.begin(), order.end());
  for (auto [turn, key] : order) {
    auto at = jobs_.find(key);
    if (at == jobs_.end() || at->second.packing)
      continue;
    if (!make_room(key, at->second) && turn != UINT64_MAX)
      return;
  }
}

void tiered_model::packed(expert_key key, result<lease> got) {
  if (!got)
    return fail(key, got.err());
  auto node = jobs_.extract(key);
  note_waiting();
  auto& j = node.mapped();
  got->keep = false;
  bool waited_for = !j.waiting.empty();
  if (j.admitted) {
    held_[slot(key)] = *got;
  } else if (!waited_for) {
    ahead_.insert(key);
    if (j.why == purpose::demand)
      orphans_.insert(key);
    ahead_bytes_ += files_.resident_bytes(key);
    held_[slot(key)] = *got;
  }
  note_here(key);
  for (auto& tell : j.waiting)
    tell(*got);
  if (j.why == purpose::warm)
    warm_more();
}

/// An expert that was read ahead is wanted: it stays if it is worth it, and is lent in any case.
lease tiered_model::use_ahead(expert_key key) {
  auto got = held_[slot(key)];
  orphans_.erase(key);
  if (admit(key)) {
    ahead_.erase(key);
    ahead_bytes_ -= files_.resident_bytes(key);
  } else {
    drop(key);
  }
  return got;
}

// --- what is going to be asked for ----------------------------------------------------------------

void tiered_model::routed(const layer_routed& what) {
  std::map<expert_id, uint32_t> rows;
  for (auto id : what.ids)
    ++rows[static_cast<expert_id>(id)];
  std::vector<policy::expert_use> uses;
  std::set<expert_id> used;
  for (auto [e, n] : rows) {
    uses.push_back({e, n});
    used.insert(e);
    used_[slot({what.layer, e})] += n;
  }
  note_token(what);
  ++steps_;
  if (index(what.layer) + 1u == model_->config().layers)
    counted_.tokens += what.rows;
  cache_.routed(what.layer, uses, what.rows);
  count_uses(what, used);
  auto began = steady::now();
  judge_foreseen(what.layer, used);
  expect(what.layer, used);
  learn(what);
  predict(what);
  counted_.predict_us += us_between(began, steady::now());
  if (steps_ % forget_after_steps == 0)
    forget_old_streams();
}

void tiered_model::count_uses(const layer_routed& what, const std::set<expert_id>& used) {
  auto& l = counted_.layers[index(what.layer)];
  for (auto e : used) {
    expert_key key{what.layer, e};
    auto guess = foreseen_.find(key);
    bool predicted = guess != foreseen_.end() && !guess->second.shadow;
    if (held(key))
      ++(predicted ? l.foreseen : l.hits);
    else
      ++(jobs_.count(key) ? l.late : l.misses);
  }
}

double tiered_model::read_us(expert_key key) const {
  auto disk = reader_->status();
  if (disk.demand_us > 0)
    return disk.demand_us;
  constexpr double unknown = 500e6;
  double rate = disk.bytes_per_s > 0 ? disk.bytes_per_s : unknown;
  return static_cast<double>(files_.resident_bytes(key)) / rate * 1e6;
}

/// The layer's turn has come: what was read ahead for it was right, or room is made again.
void tiered_model::judge_foreseen(layer_id layer, const std::set<expert_id>& used) {
  auto now = steady::now();
  auto at = foreseen_.lower_bound({layer, expert_id{0}});
  while (at != foreseen_.end() && at->first.layer == layer) {
    auto [key, f] = *at;
    at = foreseen_.erase(at);
    bool right = used.count(key.expert) > 0;
    double us = read_us(key), saved = us;
    if (f.shadow)
      saved *= shadow_share;
    else if (!held(key)) // under way: what it had for a start
      saved = std::min(us, std::chrono::duration<double, std::micro>(now - f.since).count());
    switches_[index(layer)].judged(right, saved, right ? 0 : us * waste_share);
    if (!f.shadow)
      counted_.saved_us += right ? saved : -us * waste_share;
    if (right || f.shadow)
      continue;
    if (ahead_.count(key) && !in_use(key)) {
      counted_.wasted_bytes += files_.resident_bytes(key);
      drop(key);
    } else if (auto j = jobs_.find(key);
               j != jobs_.end() && j->second.why == purpose::ahead && !j->second.packing) {
      if (j->second.staged)
        discard(key);
      else
        reader_->cancel(j->second.ticket);
    }
  }
}

void tiered_model::learn(const layer_routed& what) {
  const auto& c = model_->config();
  if (what.sessions.size() != what.rows)
    return;
  std::map<uint64_t, uint32_t> rows_of;
  for (auto id : what.sessions)
    ++rows_of[index(id)];
  size_t taken = 0;
  for (uint32_t r = 0; r < what.rows && taken < most_streams; ++r) {
    auto id = index(what.sessions[r]);
    if (rows_of[id] != 1)
      continue; // part of a prompt
    ++taken;
    auto [at, fresh] = streams_.try_emplace(
        id, stream{policy::route_history(predictor_->shape()), 0, 0, {}, {}});
    auto& s = at->second;
    if (s.next_layer != index(what.layer)) { // a step failed on its way
      s.history = policy::route_history(predictor_->shape());
      s.open.clear();
    }
    s.next_layer = (index(what.layer) + 1u) % c.layers;
    s.seen = steps_;
    std::span<const int32_t> chosen(what.ids.data() + size_t{r} * c.top_k, c.top_k);
    for (const auto& p : s.open)
      if (p.layer == what.layer)
        predictor_->learn(p, chosen);
    std::erase_if(s.open, [&](const auto& p) { return p.layer == what.layer; });
    s.history.chose(chosen);
    s.residual.clear();
    if (!what.residual.empty()) {
      auto row = what.residual.begin() + static_cast<std::ptrdiff_t>(size_t{r} * c.hidden);
      s.residual.assign(row, row + c.hidden);
    }
    learnt_ = true;
  }
}

void tiered_model::predict(const layer_routed& what) {
  auto layers = model_->config().layers;
  auto after = [&](uint32_t n) {
    return static_cast<layer_id>((index(what.layer) + n) % layers);
  };
  if (what.rows >= prompt_rows) {
    if (index(what.layer) + 1u < layers) // what comes behind a prompt's last layer is another step
      foresee_all(after(1));
    return;
  }
  for (uint32_t ahead = 1; ahead <= std::min(policy::expert_predictor::max_ahead, layers - 1);
       ++ahead) {
    std::vector<policy::expert_predictor::prediction> rows;
    for (auto& [id, s] : streams_)
      if (s.seen == steps_) {
        // The next token's state has nothing to do with this one's.
        bool same_token = index(what.layer) + ahead < layers && !s.residual.empty();
        if (same_token)
          routers_->apply(after(ahead), s.residual, gate_);
        rows.push_back(predictor_->predict(after(ahead), ahead, s.history,
                                           same_token ? gate_ : std::vector<float>{}));
        s.open.push_back(rows.back());
      }
    if (!rows.empty())
      foresee(after(ahead), ahead, policy::any_of(rows));
  }
}

uint32_t tiered_model::jobs_ahead() const {
  return static_cast<uint32_t>(std::count_if(jobs_.begin(), jobs_.end(), [](const auto& j) {
    return j.second.why == purpose::ahead;
  }));
}

void tiered_model::foresee(layer_id layer, uint32_t ahead, std::span<const float> probability) {
  std::vector<std::pair<float, expert_key>> likely;
  for (size_t e = 0; e < probability.size(); ++e) {
    expert_key key{layer, static_cast<expert_id>(e)};
    if (probability[e] >= least_probability[ahead - 1] && !held(key) && !jobs_.count(key) &&
        !foreseen_.count(key))
      likely.emplace_back(probability[e], key);
  }
  std::sort(likely.begin(), likely.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  bool on = switches_[index(layer)].on();
  uint32_t running = on ? jobs_ahead() : 0;
  for (auto [p, key] : likely) {
    bool fits = !on || has_room_ahead() ||
                cache_.decide(key, files_.resident_bytes(key), [this](expert_key v) {
                  return in_use(v);
                }).admit;
    if (!fits || running++ >= most_jobs_ahead)
      return;
    foreseen_[key] = {ahead, !on, steady::now()};
    if (on)
      start(key, purpose::ahead, {});
  }
}

/// A prompt goes through the layer next: in the order in which its gate will ask.
void tiered_model::foresee_all(layer_id layer) {
  uint32_t running = jobs_ahead();
  for (uint32_t e = 0; e < model_->config().experts && running < most_jobs_ahead; ++e) {
    if (!has_room_ahead())
      return;
    expert_key key{layer, static_cast<expert_id>(e)};
    if (held(key) || jobs_.count(key) || foreseen_.count(key))
      continue;
    foreseen_[key] = {1, false, steady::now()};
    start(key, purpose::ahead, {});
    ++running;
  }
}

void tiered_model::forget_old_streams() {
  std::erase_if(streams_,
                [&](const auto& s) { return s.second.seen + forget_after_steps < steps_; });
}

// --- the start, and what is told ------------------------------------------------------------------

void tiered_model::warm(std::function<void(uint64_t)> then) {
  warmed_ = std::move(then);
  const auto& shape = cache_.shape();
  for (uint32_t e = shape.experts; e > 0; --e)
    for (uint32_t l = shape.layers; l > 0; --l)
      to_warm_.push_back({static_cast<layer_id>(l - 1), static_cast<expert_id>(e - 1)});
  for (uint32_t i = 0; i < model_->tiered->plan.staging_slots; ++i)
    warm_more();
}

/// One more, until the cache is full.
void tiered_model::warm_more() {
  while (!to_warm_.empty()) {
    auto key = to_warm_.back();
    to_warm_.pop_back();
    if (held(key) || jobs_.count(key))
      continue;
    uint64_t coming = 0;
    for (const auto& [k, j] : jobs_)
      coming += j.admitted ? 0 : files_.resident_bytes(k);
    if (cache_.used_bytes() + coming + files_.resident_bytes(key) > cache_.capacity_bytes())
      to_warm_.clear();
    else
      return start(key, purpose::warm, {});
  }
  bool through = std::none_of(jobs_.begin(), jobs_.end(), [](const auto& j) {
    return j.second.why == purpose::warm;
  });
  if (through && warmed_)
    std::exchange(warmed_, nullptr)(cache_.used_bytes());
}

/// How long nothing but an expert was waited for.
void tiered_model::note_waiting() {
  bool now = std::any_of(jobs_.begin(), jobs_.end(),
                         [](const auto& j) { return !j.second.waiting.empty(); });
  if (now && !waited_for_)
    wait_since_ = steady::now();
  if (!now && waited_for_)
    wait_us_ += static_cast<double>(us_between(wait_since_, steady::now()));
  waited_for_ = now;
}

/// The time of tokens of a sequence that decodes alone, from its first layer to its first layer.
void tiered_model::note_token(const layer_routed& what) {
  bool alone = what.rows == 1 && what.sessions.size() == 1;
  if (!alone)
    token_of_.reset();
  if (!alone || index(what.layer) != 0)
    return;
  auto now = steady::now();
  if (token_of_ == what.sessions.front()) {
    constexpr double share = 1. / 32;
    auto us = static_cast<double>(us_between(token_since_, now));
    auto mean = [](double& of, double x) { of = of > 0 ? of + (x - of) * share : x; };
    mean(counted_.token_us, us);
    mean(counted_.compute_us, std::max(0., us - wait_us_));
  }
  token_of_ = what.sessions.front();
  token_since_ = now;
  wait_us_ = 0;
}

/// Of a sequence that decodes, from what has been seen of popularity, computation and disk.
policy::speed_answer tiered_model::predicted(double disk_bytes_per_s) const {
  const auto& t = *model_->tiered;
  return policy::predict_speed(t.needs, t.plan, policy::popularity_curve(used_),
                               {counted_.compute_us, disk_bytes_per_s, 0});
}

tiering_status tiered_model::status() const {
  auto s = counted_;
  auto disk = reader_->status();
  if (s.compute_us > 0) {
    auto p = predicted(disk.bytes_per_s);
    s.predicted_hit_rate = p.hits;
    s.predicted_token_us = p.tokens_per_s > 0 ? 1e6 / p.tokens_per_s : 0;
  }
  s.cache_bytes = cache_.capacity_bytes();
  s.cache_used_bytes = cache_.used_bytes();
  s.staging_bytes = disk.ring_bytes;
  s.disk_bytes_per_s = disk.bytes_per_s;
  s.demand_us = disk.demand_us;
  s.reader = disk.engine;
  s.wasted_bytes += disk.counts.wasted_bytes;
  for (uint32_t l = 0; l < s.layers.size(); ++l) {
    auto& layer = s.layers[l];
    auto id = static_cast<layer_id>(l);
    for (uint32_t e = 0; e < cache_.shape().experts; ++e)
      layer.here += held({id, static_cast<expert_id>(e)});
    s.here += layer.here;
    layer.reads_ahead = switches_[l].on();
    layer.precision = switches_[l].precision();
    for (uint32_t a = 1; a <= policy::expert_predictor::max_ahead; ++a)
      layer.recall.push_back(predictor_->scored(id, a).recall);
    layer.recall_of_popular = predictor_->scored(id, 1).recall_of_popular;
  }
  return s;
}

result<void> tiered_model::restore(std::span<const std::byte> state) {
  auto loaded = policy::expert_predictor::load(state, predictor_->shape());
  if (!loaded)
    return loaded.err();
  *predictor_ = std::move(*loaded);
  return {};
}

std::vector<std::byte> tiered_model::state_to_keep() {
  return std::exchange(learnt_, false) ? predictor_->save() : std::vector<std::byte>{};
}

} // namespace coel::actors
