#include "actors/tier.hpp"

#include "actors/errors.hpp"
#include "actors/tiering_state.hpp"
#include "model/byte_presence.hpp"
#include "model/weights.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using self_ptr = tier_actor::stateful_pointer<tier_state>;

loader_actor::behavior_type loader(loader_actor::pointer) {
  return {
      [](atom::fetch, const served_model_ptr& m, expert_key key) -> caf::result<lease> {
        if (auto here = model::require_present(*m->presence, key); !here)
          return to_caf(here.err());
        auto loaded = model::load_expert(*m->source, *m->device, key);
        if (!loaded)
          return to_caf(loaded.err());
        return lease{std::move(*loaded)};
      },
      [](const expert_packing& p) -> caf::result<lease> {
        auto made = p.model->tiered->files.make(*p.model->device, p.key, p.staged->pieces);
        if (!made)
          return to_caf(made.err());
        return lease{std::move(*made), false};
      },
  };
}

error shortage(const tier_state& st, memory_kind kind, uint64_t bytes) {
  auto mib = [](uint64_t n) { return std::to_string((n + (1 << 20) - 1) >> 20) + " MiB"; };
  static constexpr const char* what[] = {"weights", "KV", "buffers"};
  static constexpr const char* advice[] = {"choose fewer bits or a smaller model", "lower --kv",
                                           "lower --rows"};
  auto i = static_cast<size_t>(kind);
  auto left = st.config.budget_bytes - std::min(st.config.budget_bytes, st.total());
  return {ec::out_of_memory, mib(bytes) + " are needed for " + what[i] + ", but the " +
                                 st.config.name + " budget of " + mib(st.config.budget_bytes) +
                                 " has only " + mib(left) + " left: raise --ram or " + advice[i]};
}

bool take(tier_state& st, memory_kind kind, uint64_t bytes, uint64_t leave = 0) {
  if (st.config.budget_bytes && st.total() + bytes + leave > st.config.budget_bytes)
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

void start_loaders(self_ptr self);

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
  st.idle.push_back(by);
  start_loaders(self);
}

void start_fetches(self_ptr self) {
  auto& st = self->state;
  while (!st.idle.empty() && !st.queue.empty()) {
    auto job = std::move(st.queue.front());
    st.queue.pop_front();
    if (!take(st, memory_kind::weights, job.estimate)) {
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

void finish_pack(self_ptr self, const loader_actor& by, const tier_state::pending_pack& job,
                 result<lease> outcome) {
  auto& st = self->state;
  give_back(st, memory_kind::weights, job.what.bytes);
  if (outcome) {
    st.used[static_cast<size_t>(memory_kind::weights)] += outcome->weights->bytes;
    outcome = returned_to(self, *job.what.model, *outcome);
  }
  st.idle.push_back(by);
  job.owner->packed(job.what.key, std::move(outcome));
  job.owner->freed(); // less was needed than was taken
  start_loaders(self);
}

void start_packs(self_ptr self) {
  auto& st = self->state;
  while (!st.idle.empty() && !st.packs.empty()) {
    auto job = std::move(st.packs.front());
    st.packs.pop_front();
    auto by = st.idle.back();
    st.idle.pop_back();
    auto what = std::exchange(job.what.staged, nullptr); // its slot is free when it is packed
    expert_packing order{job.what.model, job.what.key, std::move(what), job.what.bytes};
    self->request(by, caf::infinite, std::move(order))
        .then([=](const lease& got) { finish_pack(self, by, job, got); },
              [=](caf::error& failure) { finish_pack(self, by, job, from_caf(failure)); });
  }
}

/// What has been read first: it holds a slot that others wait for.
void start_loaders(self_ptr self) {
  start_packs(self);
  start_fetches(self);
}

tiered_model::surroundings around(self_ptr self, const std::string& name) {
  auto address = caf::actor_cast<caf::weak_actor_ptr>(tier_actor{self});
  tiered_model::surroundings a;
  a.take = [self](uint64_t bytes, uint64_t leave) {
    return take(self->state, memory_kind::weights, bytes, leave);
  };
  a.pack = [self, name](expert_packing what) {
    self->state.packs.push_back({self->state.tiered.at(name).get(), std::move(what)});
    start_loaders(self);
  };
  a.post = [address, name](expert_key key, uint64_t job, result<model::staged_read> got) {
    if (auto to = caf::actor_cast<caf::strong_actor_ptr>(address))
      caf::anon_send(caf::actor_cast<tier_actor>(to),
                     expert_arrived{name, key, job,
                                    std::make_shared<result<model::staged_read>>(std::move(got))});
  };
  return a;
}

tiered_model* find_tiered(tier_state& st, const std::string& name) {
  auto at = st.tiered.find(name);
  return at == st.tiered.end() ? nullptr : at->second.get();
}

result<void> start_tiering(self_ptr self, const served_model_ptr& m) {
  auto made = tiered_model::make(m, around(self, m->name));
  if (!made)
    return made.err();
  if (auto kept = read_state(m->tiered->state_file))
    (void)(*made)->restore(*kept); // of another version or damaged: it learns anew
  self->state.tiered[m->name] = std::move(*made);
  return {};
}

caf::result<uint64_t> warm(self_ptr self, const served_model_ptr& m) {
  auto& st = self->state;
  if (!st.tiered.count(m->name))
    if (auto ok = start_tiering(self, m); !ok)
      return to_caf(ok.err());
  auto promise = self->make_response_promise<uint64_t>();
  st.tiered.at(m->name)->warm([promise](uint64_t bytes) mutable { promise.deliver(bytes); });
  return promise;
}

void keep_states(tier_state& st) {
  for (auto& [name, m] : st.tiered)
    if (auto bytes = m->state_to_keep(); !bytes.empty())
      (void)write_state(m->state_file(), bytes); // it is only slower to learn again
}

constexpr auto keep_interval = std::chrono::minutes(1);

caf::result<lease> queue_fetch(self_ptr self, const served_model_ptr& m, expert_key key) {
  auto& st = self->state;
  auto bytes = model::expert_file_bytes(*m->source, key);
  if (!bytes)
    return to_caf(bytes.err());
  auto promise = self->make_response_promise<lease>();
  if (auto* tiered = find_tiered(st, m->name); tiered && index(key.expert) < m->config().experts) {
    tiered->demand(key, [promise](result<lease> got) mutable {
      if (got)
        promise.deliver(std::move(*got));
      else
        promise.deliver(to_caf(got.err()));
    });
    return promise;
  }
  st.queue.push_back({m, key, *bytes, promise});
  start_loaders(self);
  return promise;
}

} // namespace

tier_state::~tier_state() {
  keep_states(*this);
}

tier_actor::behavior_type tier(self_ptr self, tier_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  st.used = st.config.used_before;
  for (uint32_t i = 0; i < st.config.loaders; ++i)
    st.idle.push_back(self->spawn<caf::detached + caf::linked>(loader));
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
        for (auto& [name, m] : self->state.tiered)
          m->freed();
      },
      [self](atom::fetch, const served_model_ptr& model, expert_key key) -> caf::result<lease> {
        auto measured = self->state.cost.measure();
        return queue_fetch(self, model, key);
      },
      [self](atom::load, const served_model_ptr& model) -> caf::result<uint64_t> {
        auto measured = self->state.cost.measure();
        self->delayed_send(self, keep_interval, atom::tick::value);
        return warm(self, model);
      },
      [self](const layer_routed& what) {
        auto measured = self->state.cost.measure();
        if (auto* m = find_tiered(self->state, what.model->name))
          m->routed(what);
      },
      [self](const expert_arrived& what) {
        auto measured = self->state.cost.measure();
        if (auto* m = find_tiered(self->state, what.model))
          m->arrived(what.key, what.job, std::move(*what.got));
      },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        keep_states(self->state);
        self->delayed_send(self, keep_interval, atom::tick::value);
      },
      [self](atom::details) {
        const auto& used = self->state.used;
        tier_status out{self->state.config.name,
                        self->state.config.budget_bytes,
                        self->state.total(),
                        used[0],
                        used[1],
                        used[2],
                        {}};
        for (const auto& [name, m] : self->state.tiered)
          out.models.push_back(m->status());
        return out;
      },
  };
}

} // namespace coel::actors
