#include "actors/keeper.hpp"

#include "actors/errors.hpp"
#include "model/weights.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <numeric>

namespace coel::actors {

namespace {

using self_ptr = keeper_actor::stateful_pointer<keeper_state>;
using policy::residency_move;

near_memory& board_of(const keeper_state& st) {
  return *st.config.model->near;
}

const expert_actor& actor_of(const keeper_state& st, expert_key key) {
  return st.config
      .experts[size_t{index(key.layer)} * st.config.model->experts_per_layer + index(key.expert)];
}

void look(self_ptr self);

void answered(self_ptr self, const residency_move& m, bool done, uint64_t bytes) {
  auto measured = self->state.cost.measure();
  auto& st = self->state;
  auto& board = board_of(st);
  ++(!done ? board.refused : m.come ? board.brought : board.given_up);
  st.residency->moved(m, done, bytes);
  if (--st.due == 0 && st.filled)
    look(self);
}

void carry_out(self_ptr self, const residency_move& m) {
  auto& st = self->state;
  ++st.due;
  self->request(actor_of(st, m.key), caf::infinite, atom::load::value, m.come)
      .then([=](uint64_t bytes) { answered(self, m, true, bytes); },
            [=](caf::error&) { answered(self, m, false, 0); });
}

/// What its experts did by themselves: a plan of the cluster has sent them away, or has had them
/// loaded where there was room.
void notice_changes(keeper_state& st) {
  const auto& board = board_of(st);
  for (size_t slot = 0; slot < board.slots(); ++slot) {
    expert_key key{static_cast<layer_id>(slot / board.experts()),
                   static_cast<expert_id>(slot % board.experts())};
    auto bytes = board.bytes(slot);
    if (st.residency->is_near(key) && bytes == 0)
      st.residency->lost(key);
    else if (!st.residency->is_near(key) && bytes > 0)
      st.residency->came(key, bytes);
  }
}

void learn(keeper_state& st) {
  const auto& board = board_of(st);
  std::vector<uint64_t> fresh(board.slots());
  uint64_t all = 0;
  for (size_t slot = 0; slot < fresh.size(); ++slot) {
    auto now = board.rows(slot);
    fresh[slot] = now - std::exchange(st.seen[slot], now);
    all += fresh[slot];
  }
  const auto& c = st.config.model->config();
  auto tokens = all / (uint64_t{c.top_k} * c.layers);
  st.residency->used(fresh, all ? std::max<uint64_t>(tokens, 1) : 0);
}

void decide(self_ptr self, const tier_status& now) {
  auto measured = self->state.cost.measure();
  auto& st = self->state;
  if (st.due > 0) // the next look does
    return;
  if (now.lost) {
    if (auto waits = std::exchange(st.filled, std::nullopt))
      waits->deliver(to_caf({ec::device_lost, "the card was lost while experts were loaded"}));
    return;
  }
  notice_changes(st);
  auto taken = now.used_bytes + board_of(st).shared_due();
  auto free = now.budget_bytes - std::min(now.budget_bytes, taken);
  bool any = st.all_may_come;
  const auto& board = board_of(st);
  auto moves = st.residency->next(std::min(st.residency->near_bytes() + free, st.most_bytes),
                                  [&](size_t slot) { return any || board.is_far(slot); });
  for (const auto& m : moves)
    carry_out(self, m);
  if (!moves.empty() || !st.filled)
    return;
  st.all_may_come = st.config.model->tiered != nullptr;
  st.filled->deliver(board.sum().bytes);
  st.filled.reset();
}

/// Its budget is shared with the device's other uses and models: what is free now.
void look(self_ptr self) {
  self->request(board_of(self->state).tier(), caf::infinite, atom::details::value)
      .then([self](const tier_status& now) { decide(self, now); }, [](caf::error&) {});
}

void tick(self_ptr self) {
  auto& st = self->state;
  self->delayed_send(self, st.config.period, atom::tick::value);
  if (st.filled || st.due > 0)
    return;
  learn(st);
  look(self);
}

caf::result<uint64_t> fill(self_ptr self) {
  auto& st = self->state;
  auto promise = self->make_response_promise<uint64_t>();
  if (st.filled)
    return to_caf({ec::internal, "a keeper fills its memory once at a time"});
  st.filled = promise;
  st.all_may_come = true;
  look(self);
  return promise;
}

void start(keeper_state& st) {
  const auto& m = *st.config.model;
  const auto& c = m.config();
  policy::cache_shape shape{c.layers, c.experts};
  std::vector<uint64_t> bytes(shape.slots());
  for (size_t slot = 0; slot < bytes.size(); ++slot)
    if (auto b = model::expert_file_bytes(*m.source, {static_cast<layer_id>(slot / c.experts),
                                                      static_cast<expert_id>(slot % c.experts)}))
      bytes[slot] = *b;
  st.most_bytes = UINT64_MAX;
  if (st.config.share < 1)
    st.most_bytes = static_cast<uint64_t>(
        st.config.share *
        static_cast<double>(std::accumulate(bytes.begin(), bytes.end(), uint64_t{0})));
  st.seen.resize(shape.slots());
  st.residency =
      std::make_unique<policy::near_residency>(shape, std::move(bytes), st.config.limits);
}

} // namespace

keeper_actor::behavior_type keeper(self_ptr self, keeper_config config) {
  self->state.config = std::move(config);
  start(self->state);
  self->delayed_send(self, self->state.config.period, atom::tick::value);
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "keeper", self->state.config.model->name);
      },
      [self](atom::load) { return fill(self); },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        tick(self);
      },
  };
}

} // namespace coel::actors
