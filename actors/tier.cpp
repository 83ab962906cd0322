#include "actors/tier.hpp"

#include "actors/direct_expert.hpp"
#include "actors/errors.hpp"
#include "actors/near_memory.hpp"
#include "actors/supplier.hpp"
#include "model/byte_presence.hpp"
#include "model/weights.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using self_ptr = tier_actor::stateful_pointer<tier_state>;

/// What every token uses is near in any case.
compute::weight_use place_of(const served_model& m, expert_key key, bool near) {
  return near || index(key.expert) >= m.config().experts ? compute::weight_use::project
                                                         : compute::weight_use::far_expert;
}

result<model::expert_ptr> load_from_disk(const served_model& m, expert_key key, bool near) {
  if (m.tiered && index(key.expert) < m.config().experts)
    return load_expert_directly(m, key);
  return model::load_expert(*m.source, *m.device, key, place_of(m, key, near));
}

loader_actor::behavior_type loader(loader_actor::pointer, bool near) {
  return {
      [near](atom::fetch, const served_model_ptr& m, expert_key key) -> caf::result<lease> {
        if (auto here = model::require_present(*m->presence, key); !here)
          return to_caf(here.err());
        auto loaded = load_from_disk(*m, key, near);
        if (!loaded)
          return to_caf(loaded.err());
        return lease{std::move(*loaded)};
      },
  };
}

error shortage(const tier_state& st, memory_kind kind, uint64_t bytes) {
  auto mib = [](uint64_t n) { return std::to_string((n + (1 << 20) - 1) >> 20) + " MiB"; };
  static constexpr const char* what[] = {"weights", "KV", "buffers"};
  static constexpr const char* advice[] = {"choose fewer bits or a smaller model", "lower --kv",
                                           "lower --rows"};
  auto i = static_cast<size_t>(kind);
  auto left = st.free_bytes();
  return {ec::out_of_memory, mib(bytes) + " are needed for " + what[i] + ", but the " +
                                 st.config.name + " budget of " + mib(st.config.budget_bytes) +
                                 " has only " + mib(left) + " left: raise " + st.config.option +
                                 " or " + advice[i]};
}

bool take(tier_state& st, memory_kind kind, uint64_t bytes) {
  if (st.config.budget_bytes && st.total() + bytes > st.config.budget_bytes)
    return false;
  st.used[static_cast<size_t>(kind)] += bytes;
  return true;
}

void give_back(tier_state& st, memory_kind kind, uint64_t bytes) {
  auto& used = st.used[static_cast<size_t>(kind)];
  used -= std::min(used, bytes);
}

/// The same weights under an owner that returns their bytes to the tier when the last lease ends.
lease returned_to(const tier_actor& tier, const served_model& m, const lease& loaded) {
  auto weights = loaded.weights;
  auto address = caf::actor_cast<caf::weak_actor_ptr>(tier);
  *m.resident_bytes += weights->bytes;
  return {{weights.get(), [weights, address,
                           resident = m.resident_bytes](const compute::expert_weights* w) mutable {
             uint64_t bytes = w->bytes;
             weights.reset();
             *resident -= bytes;
             if (auto to = caf::actor_cast<caf::strong_actor_ptr>(address))
               caf::anon_send(caf::actor_cast<tier_actor>(to), atom::release::value,
                              memory_kind::weights, bytes);
           }}};
}

/// The board of a routed expert that is loaded into a device's own memory; else null.
near_memory* board_of(const tier_state& st, const tier_state::pending_fetch& job) {
  bool routed = index(job.key.expert) < job.model->config().experts;
  return st.config.near_to && routed ? job.model->near.get() : nullptr;
}

/// Routed experts leave those that every token uses their room.
bool take_for(tier_state& st, const tier_state::pending_fetch& job) {
  const auto* board = board_of(st, job);
  if (board && st.config.budget_bytes && st.free_bytes() < job.estimate + board->shared_due())
    return false;
  return take(st, memory_kind::weights, job.estimate);
}

/// What the device itself said, which knows in what pieces its memory is.
void note(const tier_state& st, const tier_state::pending_fetch& job,
          const caf::expected<lease>& outcome) {
  auto* board = board_of(st, job);
  if (board && outcome)
    board->took_with(st.free_bytes());
  else if (board && from_caf(outcome.error()).code == ec::out_of_memory)
    board->refused_with(st.free_bytes());
}

void start_fetches(self_ptr self);

void finish_fetch(self_ptr self, const loader_actor& by, tier_state::pending_fetch job,
                  const caf::expected<lease>& outcome) {
  auto& st = self->state;
  give_back(st, memory_kind::weights, job.estimate);
  if (outcome) {
    st.used[static_cast<size_t>(memory_kind::weights)] += outcome->weights->bytes;
    job.promise.deliver(returned_to(self, *job.model, *outcome));
  } else {
    job.promise.deliver(outcome.error());
  }
  note(st, job, outcome);
  st.idle.push_back(by);
  start_fetches(self);
}

void start_fetches(self_ptr self) {
  auto& st = self->state;
  while (!st.idle.empty() && !st.queue.empty()) {
    auto job = std::move(st.queue.front());
    st.queue.pop_front();
    if (!take_for(st, job)) {
      job.promise.deliver(to_caf(shortage(st, memory_kind::weights, job.estimate)));
      continue;
    }
    auto by = st.idle.back();
    st.idle.pop_back();
    self->request(by, caf::infinite, atom::fetch::value, job.model, job.key)
        .then([=](const lease& got) { finish_fetch(self, by, job, got); },
              [=](caf::error& failure) { finish_fetch(self, by, job, std::move(failure)); });
  }
}

caf::result<lease> queue_fetch(self_ptr self, const served_model_ptr& m, expert_key key) {
  auto& st = self->state;
  if (m->tiered && !st.config.near_to && index(key.expert) < m->config().experts)
    return to_caf({ec::internal, "the routed experts of this model are lent by its supplier"});
  auto bytes = model::expert_file_bytes(*m->source, key);
  if (!bytes)
    return to_caf(bytes.err());
  auto promise = self->make_response_promise<lease>();
  st.queue.push_back({m, key, *bytes, promise});
  start_fetches(self);
  return promise;
}

caf::result<uint64_t> start_supply(self_ptr self, const served_model_ptr& m) {
  auto& st = self->state;
  const auto& plan = m->tiered->plan;
  auto bytes = plan.cache_bytes + plan.transient_bytes + plan.lower_bytes;
  if (!take(st, memory_kind::weights, bytes))
    return to_caf(shortage(st, memory_kind::weights, bytes));
  st.suppliers.push_back(self->spawn<caf::linked>(supplier, supplier_config{m}));
  auto promise = self->make_response_promise<uint64_t>();
  self->request(st.suppliers.back(), caf::infinite, atom::load::value)
      .then([promise](uint64_t there) mutable { promise.deliver(there); },
            [promise](caf::error& why) mutable { promise.deliver(std::move(why)); });
  return promise;
}

/// Not more than that any longer.
void shrink(tier_state& st, tier_state::pool& pool, uint64_t bytes, uint64_t beside) {
  auto before = pool.bytes + pool.beside;
  pool.bytes = std::min(pool.bytes, bytes);
  pool.beside = std::min(pool.beside, beside);
  give_back(st, memory_kind::weights, before - pool.bytes - pool.beside);
}

void tell_pool(self_ptr self, const pool_order& to, const tier_state::pool& before,
               caf::typed_response_promise<uint64_t> promise) {
  auto* pool = &self->state.pools.at(to.model->tiered.get());
  self->request(pool->supplier, caf::infinite, to)
      .then(
          [=](uint64_t has) mutable {
            shrink(self->state, *pool, to.bytes, to.bytes ? pool->beside : 0);
            promise.deliver(has);
          },
          [=](caf::error& why) mutable {
            shrink(self->state, *pool, before.bytes, before.beside);
            promise.deliver(std::move(why));
          });
}

/// More is taken before it is used, less is given back after it is free.
caf::result<uint64_t> resize_pool(self_ptr self, const pool_order& to) {
  auto& st = self->state;
  auto [at, fresh] = st.pools.try_emplace(to.model->tiered.get());
  auto& pool = at->second;
  auto before = pool;
  auto bytes = std::max(pool.bytes, to.bytes);
  auto beside = to.bytes ? beside_bytes(*to.model->tiered) : pool.beside;
  uint64_t more = bytes + beside - pool.bytes - pool.beside;
  if (!take(st, memory_kind::weights, more))
    return to_caf(shortage(st, memory_kind::weights, more));
  if (!pool.supplier) {
    before.supplier = pool.supplier = self->spawn<caf::linked>(supplier, supplier_config{to.model});
    st.suppliers.push_back(pool.supplier);
  }
  pool.bytes = bytes;
  pool.beside = beside;
  auto promise = self->make_response_promise<uint64_t>();
  tell_pool(self, to, before, promise);
  return promise;
}

/// With what the suppliers say of their models.
caf::result<tier_status> details(self_ptr self) {
  const auto& st = self->state;
  const auto& used = st.used;
  auto all = std::make_shared<tier_status>(tier_status{
      st.config.name, st.config.budget_bytes, st.total(), used[0], used[1], used[2], {}, false});
  if (st.config.near_to)
    if (auto own = st.config.near_to->status().own_memory)
      all->lost = own->lost;
  if (st.suppliers.empty())
    return *all;
  auto promise = self->make_response_promise<tier_status>();
  auto due = std::make_shared<size_t>(st.suppliers.size());
  auto arrived = [promise, all, due]() mutable {
    if (--*due == 0)
      promise.deliver(std::move(*all));
  };
  for (const auto& s : st.suppliers)
    self->request(s, caf::infinite, atom::details::value)
        .then(
            [all, arrived](const tiering_status& t) mutable {
              all->models.push_back(t);
              arrived();
            },
            [arrived](caf::error&) mutable { arrived(); });
  return promise;
}

} // namespace

tier_actor::behavior_type tier(self_ptr self, tier_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  st.used = st.config.used_before;
  for (uint32_t i = 0; i < st.config.loaders; ++i)
    st.idle.push_back(
        self->spawn<caf::detached + caf::linked>(loader, st.config.near_to != nullptr));
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "tier " + self->state.config.name);
      },
      [self](atom::reserve, memory_kind kind, uint64_t bytes) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        if (!take(self->state, kind, bytes))
          return to_caf(shortage(self->state, kind, bytes));
        return true;
      },
      [self](atom::release, memory_kind kind, uint64_t bytes) {
        auto measured = self->state.cost.measure();
        give_back(self->state, kind, bytes);
      },
      [self](atom::fetch, const served_model_ptr& model, expert_key key) -> caf::result<lease> {
        auto measured = self->state.cost.measure();
        return queue_fetch(self, model, key);
      },
      [self](atom::load, const served_model_ptr& model) -> caf::result<uint64_t> {
        auto measured = self->state.cost.measure();
        return start_supply(self, model);
      },
      [self](const pool_order& to) -> caf::result<uint64_t> {
        auto measured = self->state.cost.measure();
        return resize_pool(self, to);
      },
      [self](atom::details) -> caf::result<tier_status> { return details(self); },
  };
}

} // namespace coel::actors
