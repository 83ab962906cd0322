#include "actors/foreseer.hpp"

#include "actors/last_on_lane.hpp"
#include "actors/tiering_state.hpp"
#include "net/link_refusals.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <thread>

namespace coel::actors {

namespace {

using self_ptr = foreseer_actor::stateful_pointer<foreseer_state>;
using policy::expert_predictor;

/// Rows of decoding sessions that are predicted for one by one.
constexpr size_t most_streams = 16;
constexpr uint64_t forget_after_steps = 4096;
constexpr auto keep_interval = std::chrono::minutes(1);

/// Its row's words: what was predicted for the layer is judged, what it chose is remembered.
void learn_row(foreseer_state& st, const layer_routed& what, uint32_t row) {
  const auto& c = st.config.model->config();
  auto id = index(what.sessions[row]);
  auto at = st.streams
                .try_emplace(id,
                             foreseer_state::stream{
                                 policy::route_history(st.predictor->shape()), 0, 0, {}, {}})
                .first;
  auto& s = at->second;
  if (s.next_layer != index(what.layer)) { // a step failed on its way
    s.history = policy::route_history(st.predictor->shape());
    s.open.clear();
  }
  s.next_layer = (index(what.layer) + 1u) % c.layers;
  s.seen = st.steps;
  std::span<const int32_t> chosen(what.ids.data() + size_t{row} * c.top_k, c.top_k);
  for (const auto& p : s.open)
    if (p.layer == what.layer)
      st.predictor->learn(p, chosen);
  std::erase_if(s.open, [&](const auto& p) { return p.layer == what.layer; });
  s.history.chose(chosen);
  s.residual.clear();
  if (!what.residual.empty()) {
    auto from = what.residual.begin() + static_cast<std::ptrdiff_t>(size_t{row} * c.hidden);
    s.residual.assign(from, from + c.hidden);
  }
  st.learnt = true;
}

/// Rows of sessions with one row each: the others are parts of prompts.
void learn(foreseer_state& st, const layer_routed& what) {
  std::map<uint64_t, uint32_t> rows_of;
  for (auto id : what.sessions)
    ++rows_of[index(id)];
  size_t taken = 0;
  for (uint32_t r = 0; r < what.rows && taken < most_streams; ++r)
    if (rows_of[index(what.sessions[r])] == 1) {
      learn_row(st, what, r);
      ++taken;
    }
}

/// Of the layer `ahead` layers on, by all rows of the step.
void predict(self_ptr self, const layer_routed& what, uint32_t ahead) {
  auto& st = self->state;
  auto layers = st.config.model->config().layers;
  bool same_token = index(what.layer) + ahead < layers;
  auto layer = static_cast<layer_id>((index(what.layer) + ahead) % layers);
  std::vector<expert_predictor::prediction> rows;
  for (auto& [id, s] : st.streams) {
    if (s.seen != st.steps)
      continue;
    bool told = same_token && !s.residual.empty(); // the next token's state is another
    if (told)
      st.config.routers->apply(layer, s.residual, st.gate);
    rows.push_back(
        st.predictor->predict(layer, ahead, s.history, told ? st.gate : std::vector<float>{}));
    s.open.push_back(rows.back());
  }
  if (!rows.empty())
    self->send(st.config.supplier, layer_forecast{layer, ahead, policy::any_of(rows)});
}

void routed(self_ptr self, const layer_routed& what) {
  auto& st = self->state;
  if (!st.config.routers || what.sessions.size() != what.rows)
    return;
  ++st.steps;
  learn(st, what);
  auto layers = st.config.model->config().layers;
  for (uint32_t a = 1; a <= std::min(expert_predictor::max_ahead, layers - 1); ++a)
    predict(self, what, a);
  if (st.steps % forget_after_steps == 0)
    std::erase_if(st.streams,
                  [&](const auto& s) { return s.second.seen + forget_after_steps < st.steps; });
}

void keep(foreseer_state& st) {
  if (!st.predictor || !st.learnt)
    return;
  auto ok = write_state(st.config.model->tiered->state_file, st.predictor->save());
  st.learnt = !ok; // tried again with the next tick: it is only slower to learn anew
  if (!ok && !st.keeping_fails)
    net::say_on_stderr("event=predictor-not-kept why=\"" + ok.err().message + "\"");
  st.keeping_fails = !ok;
}

predictor_status status_of(const foreseer_state& st) {
  predictor_status s;
  s.busy_us = st.cost.busy_us();
  for (uint32_t l = 0; l < st.config.model->config().layers; ++l) {
    auto id = static_cast<layer_id>(l);
    auto& recall = s.recall.emplace_back();
    for (uint32_t a = 1; a <= expert_predictor::max_ahead; ++a)
      recall.push_back(st.predictor->scored(id, a).recall);
    s.recall_of_popular.push_back(st.predictor->scored(id, 1).recall_of_popular);
  }
  return s;
}

/// A thread of its own would take a core from one that computes, in mid-tile, and all others wait
/// for it at the end of the phase: a tenth of a token's time. On the device's own thread, once the
/// layer's experts have been handed out, the others take its tiles meanwhile.
class foreseer_on_lane : public caf::stateful_actor<foreseer_state, foreseer_actor::base>,
                         public last_on_lane {
 public:
  foreseer_on_lane(caf::actor_config& how, foreseer_config config)
      : caf::stateful_actor<foreseer_state, foreseer_actor::base>(how), config_(std::move(config)) {
  }

  behavior_type make_behavior() override { return foreseer(this, std::move(config_)); }

 private:
  foreseer_config config_;
};

} // namespace

foreseer_actor start_foreseer(caf::scheduled_actor* parent, foreseer_config config) {
  const auto& m = *config.model;
  bool cores_left = m.device->status().threads < std::thread::hardware_concurrency();
  if (!m.near && !cores_left)
    return parent->spawn<foreseer_on_lane, caf::linked>(std::move(config));
  return parent->spawn<caf::detached + caf::linked>(foreseer, std::move(config));
}

std::optional<policy::expert_predictor> learnt_before(const served_model& m) {
  auto kept = read_state(m.tiered->state_file);
  if (!kept)
    return {};
  auto loaded =
      expert_predictor::load(*kept, {m.config().layers, m.config().experts, m.config().top_k});
  if (!loaded)
    return {};
  return std::move(*loaded);
}

foreseer_state::~foreseer_state() {
  keep(*this);
}

foreseer_actor::behavior_type foreseer(self_ptr self, foreseer_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  const auto& m = *st.config.model;
  policy::routing_shape shape{m.config().layers, m.config().experts, m.config().top_k};
  auto kept = learnt_before(m);
  st.predictor =
      std::make_unique<expert_predictor>(kept ? std::move(*kept) : expert_predictor(shape));
  self->delayed_send(self, keep_interval, atom::tick::value);
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "foreseer", self->state.config.model->name);
      },
      [self](const layer_routed& what) {
        auto measured = self->state.cost.measure();
        routed(self, what);
      },
      [self](const routers_ptr& routers) {
        self->state.config.routers = routers;
        return true;
      },
      [self](atom::tick) {
        keep(self->state);
        self->delayed_send(self, keep_interval, atom::tick::value);
      },
      [self](atom::details) { return status_of(self->state); },
  };
}

} // namespace coel::actors
