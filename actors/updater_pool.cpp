#include "actors/updater_pool.hpp"

#include "actors/tiering.hpp"
#include "policy/expert_moves.hpp"
#include "policy/miss_choice.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = updater_actor::stateful_pointer<updater_state>;

/// What no node is to hold.
bitmap left_of(const placed_model& m) {
  bitmap left(m.items());
  for (size_t i = 0; i < m.items(); ++i)
    left.set(i, left_to_disks(m, i));
  return left;
}

/// Most used first.
std::vector<expert_key> in_order_of_use(const placed_model& m, const bitmap& left) {
  std::vector<size_t> items;
  for (size_t i = 0; i < m.items(); ++i)
    if (left.test(i))
      items.push_back(i);
  std::vector<expert_key> out;
  for (auto i : policy::by_popularity(std::move(items), m.common, false))
    out.push_back(m.key_of(i));
  return out;
}

/// The same, but that its reader lends by it.
served_model_ptr reading(const served_model_ptr& model) {
  auto reads = std::make_shared<served_model>(*model);
  reads->tiered = std::move(reads->pool);
  reads->pool = nullptr;
  return reads;
}

/// Gates use it from now on, or no more; steps under way are served in any case.
void lend(const placed_model& m, bool yes) {
  m.hosted.model->pool->lends.store(yes, std::memory_order_release);
}

void ask(self_ptr self, const std::string& name, placed_model& m, const bitmap& left,
         const std::function<void()>& then) {
  auto bytes = m.pool.bytes;
  m.pool.asked = true;
  m.pool.left = left;
  if (!bytes)
    lend(m, false);
  self->request(self->state.config.ram, caf::infinite,
                pool_order{reading(m.hosted.model), bytes, in_order_of_use(m, left)})
      .then(
          [=](uint64_t) {
            auto& now = self->state.models.at(name);
            now.pool.asked = false;
            bool news = now.pool.there != bytes;
            now.pool.there = bytes;
            lend(now, bytes > 0);
            if (news)
              then();
          },
          [=](caf::error&) { // its memory is not free yet
            auto& now = self->state.models.at(name).pool;
            now.asked = false;
            now.left = {};
          });
}

} // namespace

bool can_read(const placed_model& m) {
  return m.hosted.model->pool && m.hosted.scheduler;
}

uint64_t read_by(const placed_model& m) {
  const auto& p = m.pool;
  return p.bytes || p.there || p.asked ? beside_bytes(*m.hosted.model->pool) : 0;
}

double read_us(const placed_model& m) {
  const auto& pool = m.hosted.model->pool;
  policy::miss_question unknown;
  unknown.bytes = m.expert_bytes;
  double us = pool ? static_cast<double>(pool->demand_us.load()) : 0;
  double waits = pool ? pool->waits.load() : -1;
  if (waits < 0)
    waits = policy::read_share(m.pool.bytes, left_of(m).count() * m.expert_bytes);
  return (us > 0 ? us : policy::wait_us(unknown)) * waits;
}

policy::pool_rule pool_rule_of(const placed_model& m) {
  const auto& model = *m.hosted.model;
  uint64_t step = std::min(model.config().top_k + 1, model.config().experts);
  if (!model.pool)
    return {policy::usual_pool_share, step * m.expert_bytes, 0};
  return {model.pool->share, step * m.expert_bytes, beside_bytes(*model.pool)};
}

void follow_rule(const updater_state& st, placed_model& m, const std::vector<uint64_t>& pools,
                 size_t here) {
  auto& p = m.pool;
  if (st.draining) // what still runs here may need it
    return;
  bool wanted = std::any_of(pools.begin(), pools.end(), [](uint64_t b) { return b > 0; });
  if (std::exchange(p.wanted, wanted) != wanted)
    p.changed = steady::now();
  if (steady::now() - p.changed >= st.config.planning.settle)
    p.on = wanted;
  p.bytes = p.on ? pools[here] : 0;
}

void look_after_pool(self_ptr self, const std::string& name, placed_model& m,
                     const std::function<void()>& then) {
  auto& p = m.pool;
  if (p.asked || !m.hosted.model->pool || (!p.bytes && !p.there))
    return;
  auto left = left_of(m);
  if (p.bytes != p.there || left != p.left)
    ask(self, name, m, left, then);
}

} // namespace coel::actors
