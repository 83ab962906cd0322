#include "actors/supplier_store.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

model::disk_reader::done post_to(supplier_ptr self, uint64_t job) {
  auto address = caf::actor_cast<caf::weak_actor_ptr>(supplier_actor{self});
  return [address, job](result<model::staged_read> got) {
    if (auto to = caf::actor_cast<caf::strong_actor_ptr>(address))
      caf::anon_send(
          caf::actor_cast<supplier_actor>(to),
          piece_arrived{job, 0, std::make_shared<result<model::staged_read>>(std::move(got))});
  };
}

} // namespace

bool has_store(const supplier_state& st) {
  return st.config.model->tiered->store != nullptr;
}

void read_stored(supplier_ptr self, uint64_t job) {
  auto& st = self->state;
  auto& j = st.jobs.at(job);
  j.lazy = false; // there is nothing to put off
  j.reads_due = 1;
  j.pieces.resize(1);
  auto answer = post_to(self, job);
  auto piece = st.config.model->tiered->store->piece(j.key);
  auto memory = st.config.model->device->allocate(piece.bytes);
  if (!memory)
    return answer(memory.err());
  j.memory = *memory;
  auto ticket = st.reader->submit(
      {std::move(piece)},
      j.urgent ? model::read_priority::demand : model::read_priority::prefetch, answer,
      {j.memory->data(), j.memory->size_bytes(), j.memory});
  if (ticket)
    j.tickets.push_back(*ticket);
  else
    answer(ticket.err());
}

void take_stored(supplier_ptr self, uint64_t job, model::staged_read got,
                 void (*then)(supplier_ptr, uint64_t)) {
  auto& st = self->state;
  const auto& key = st.jobs.at(job).key;
  auto slot = size_t{index(key.layer)} * st.config.model->config().experts + index(key.expert);
  if (st.checked[slot])
    return then(self, job);
  pack(self, {job, 0, std::make_shared<const model::staged_read>(std::move(got))}, then);
}

} // namespace coel::actors
