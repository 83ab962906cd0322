#include "actors/rescue.hpp"

#include "actors/errors.hpp"
#include "actors/meter.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 200ms;
constexpr auto longest_goodbye = 5s;

/// Its steps fail by themselves, and so its sessions leave; those that came late are told by its
/// end.
void empty(caf::scoped_actor& self, const hosted_model& old) {
  auto until = steady::now() + longest_goodbye;
  for (bool any = old.scheduler != nullptr; any && steady::now() < until;) {
    self->request(old.scheduler, longest_goodbye, atom::details::value)
        .receive([&](const scheduler_status& s) { any = s.queued > 0 || !s.sessions.empty(); },
                 [&](caf::error&) { any = false; });
    if (any)
      std::this_thread::sleep_for(10ms);
  }
}

/// Until its actors have ended: their memory is wanted.
void end(caf::scoped_actor& self, const hosted_model& old) {
  stop(old);
  for (const auto& e : old.experts)
    self->wait_for(e);
}

result<void> account(caf::scoped_actor& self, const tier_actor& ram, uint64_t bytes) {
  result<void> outcome;
  self->request(ram, caf::infinite, atom::reserve::value, memory_kind::weights, bytes)
      .receive([](bool) {}, [&](caf::error& why) { outcome = from_caf(why); });
  return outcome;
}

result<hosted_model> host_again(caf::actor_system& system, caf::scoped_actor& self,
                                const served_model& old, const tier_actor& ram,
                                const hosting_config& config) {
  auto spare = old.device->spare();
  if (!spare)
    return {ec::unsupported, old.name + ": there is no other device: restart the node"};
  auto fresh = serve_source(old.source, old.name, spare);
  if (!fresh)
    return fresh.err();
  (*fresh)->hash = old.hash;
  (*fresh)->presence = old.presence;
  if (auto ok = account(self, ram, (*fresh)->dense.bytes); !ok)
    return ok.err();
  auto hosted = host_alone(system, *fresh, ram, config);
  if (!hosted)
    return hosted;
  if (auto ok = load_experts(system, *hosted, {}); !ok) {
    stop(*hosted);
    return ok.err();
  }
  return hosted;
}

} // namespace

result<void> rescue(caf::actor_system& system, hosted_models& models, const tier_actor& ram,
                    hosting_config config) {
  caf::scoped_actor self{system};
  config.near = tier_actor{};
  config.record_routing.clear(); // its file has another writer's half rows
  for (auto all = models.all(); const auto& old : *all) {
    if (!old.model->near)
      continue;
    if (old.model->tiered)
      return {ec::unsupported, old.model->name + ": a part of it is on disk only: restart the node "
                                                 "without --gpu"};
    empty(self, old);
    end(self, old);
    auto fresh = host_again(system, self, *old.model, ram, config);
    if (!fresh)
      return {fresh.err().code, old.model->name + ": " + fresh.err().message};
    models.replace(std::move(*fresh));
  }
  return {};
}

device_watch::device_watch(compute::device_ptr device, std::function<void()> lost)
    : device_(std::move(device)), thread_([this, lost = std::move(lost)] { run(lost); }) {}

device_watch::~device_watch() {
  {
    std::lock_guard hold(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void device_watch::run(const std::function<void()>& lost) {
  std::unique_lock hold(mutex_);
  while (!wake_.wait_for(hold, look_every, [this] { return ending_; })) {
    auto own = device_->status().own_memory;
    if (!own || !own->lost)
      continue;
    hold.unlock();
    lost();
    return;
  }
}

} // namespace coel::actors
