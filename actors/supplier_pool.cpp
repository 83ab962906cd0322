#include "actors/supplier_pool.hpp"

#include "actors/foreseer.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using namespace std::chrono_literals;

/// Claims that were on their way when gates were told to ask nothing more have come by then.
constexpr auto rest_after = 1s;

result<std::unique_ptr<model::disk_reader>> start_reader(const tiering& t) {
  model::disk_reader::options how;
  how.slot_bytes = t.files.largest_piece();
  how.slots = static_cast<uint32_t>(t.plan.staging_bytes / how.slot_bytes);
  if (t.store) { // its reads need no slots
    how.slot_bytes = model::direct_file::alignment;
    how.slots = 1;
  }
  how.limits.chunk_bytes = uint64_t{2} << 20; // a matrix in one read, or few
  how.limits.demand_slots = pieces_each;
  how.engine = t.engine;
  return model::disk_reader::start(how);
}

bool is_wanted(const supplier_state& st) {
  return st.supply->used_bytes() > 0 || st.supply->open_steps() > 0 || !st.jobs.empty();
}

void answer(supplier_state& st) {
  st.resized->deliver(st.supply->pool_bytes());
  st.resized.reset();
}

void rest(supplier_ptr self) {
  self->state.reader.reset();
  self->request(self->state.foreseer, caf::infinite, routers_ptr())
      .then([self](bool) { answer(self->state); }, [self](caf::error&) { answer(self->state); });
}

} // namespace

result<void> begin_reading(supplier_ptr self) {
  auto& st = self->state;
  const auto& m = *st.config.model;
  auto reader = start_reader(*m.tiered);
  if (!reader)
    return reader.err();
  auto routers = model::deep_routers::load(*m.source);
  if (!routers)
    return routers.err();
  st.reader = std::move(*reader);
  if (st.foreseer) {
    self->request(st.foreseer, caf::infinite, routers_ptr(std::move(*routers)))
        .then([](bool) {}, [](caf::error&) {}); // it predicts a little later
    return {};
  }
  st.foreseer = start_foreseer(
      self, foreseer_config{st.config.model, supplier_actor{self}, std::move(*routers)});
  m.tiered->supplier = supplier_actor{self};
  m.tiered->foreseer = st.foreseer;
  return {};
}

caf::result<uint64_t> resize(supplier_ptr self, const pool_order& to,
                             void (*carry_out)(supplier_ptr)) {
  auto& st = self->state;
  if (st.resized)
    st.resized->deliver(st.supply->used_bytes());
  auto promise = self->make_response_promise<uint64_t>();
  st.resized = promise;
  st.left.assign(st.held.size(), false);
  for (auto key : to.left)
    st.left[st.slot(key)] = true;
  st.supply->resize(to.bytes);
  st.supply->fill(to.bytes ? to.left : std::vector<expert_key>());
  if (!to.bytes)
    self->delayed_send(self, rest_after, atom::tick::value);
  carry_out(self);
  return promise;
}

void settle_size(supplier_ptr self) {
  auto& st = self->state;
  auto size = st.supply->pool_bytes();
  if (st.resized && size > 0 && st.supply->used_bytes() <= size)
    answer(st);
}

void look_whether_to_rest(supplier_ptr self) {
  auto& st = self->state;
  if (!st.resized || st.supply->pool_bytes() > 0 || rests(st))
    return;
  if (is_wanted(st))
    return self->delayed_send(self, rest_after, atom::tick::value);
  rest(self);
}

void refuse(supplier_ptr self, const expert_claim& what) {
  experts_lent no{what.step, {}, error{ec::expert_not_here, "nothing is read here any more"}};
  self->send(caf::actor_cast<lease_listener>(self->current_sender()), std::move(no));
}

} // namespace coel::actors
