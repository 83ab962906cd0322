#include "actors/supplier_packing.hpp"

#include "actors/errors.hpp"
#include "actors/lent_expert.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using done = void (*)(supplier_ptr, uint64_t);

piece_loader_actor::behavior_type piece_loader(piece_loader_actor::pointer) {
  return {
      [](const piece_packing& p) -> caf::result<packed_piece> {
        if (const auto& store = p.model->tiered->store) {
          auto whole = store->check(p.key, p.staged->pieces.front());
          return whole ? caf::result<packed_piece>(packed_piece{}) : to_caf(whole.err());
        }
        auto made = p.model->tiered->files.make_piece(*p.model->device, p.key, p.piece,
                                                      p.staged->pieces.front());
        if (!made)
          return to_caf(made.err());
        return packed_piece{std::move(*made)};
      },
  };
}

void start(supplier_ptr self, done then);

void finish(supplier_ptr self, const piece_loader_actor& by, uint64_t job, uint32_t piece,
            result<compute::weight_ptr> outcome, done then) {
  auto measured = self->state.cost.measure();
  auto& st = self->state;
  st.idle.push_back(by);
  start(self, then);
  auto& j = st.jobs.at(job);
  --j.packs_due;
  if (outcome)
    j.pieces[piece] = std::move(*outcome);
  else if (j.outcome)
    j.outcome = outcome.err();
  then(self, job);
}

void start(supplier_ptr self, done then) {
  auto& st = self->state;
  while (!st.idle.empty() && !(st.packs.empty() && st.packs_ahead.empty())) {
    auto& queue = st.packs.empty() ? st.packs_ahead : st.packs;
    auto what = std::move(queue.front());
    queue.pop_front();
    auto by = st.idle.back();
    st.idle.pop_back();
    auto job = what.job;
    auto piece = what.piece;
    self->request(by, caf::infinite,
                  piece_packing{st.config.model, st.jobs.at(job).key, piece,
                                std::move(what.staged)}) // then its slot is free
        .then([=](const packed_piece& got) { finish(self, by, job, piece, got.matrix, then); },
              [=](caf::error& why) { finish(self, by, job, piece, from_caf(why), then); });
  }
}

} // namespace

void spawn_loaders(supplier_ptr self) {
  for (uint32_t i = 0; i < self->state.config.loaders; ++i)
    self->state.idle.push_back(self->spawn<caf::detached + caf::linked>(piece_loader));
}

void pack(supplier_ptr self, supplier_state::pending_piece what, done then) {
  auto& st = self->state;
  auto& j = st.jobs.at(what.job);
  ++j.packs_due;
  (j.urgent ? st.packs : st.packs_ahead).push_back(std::move(what));
  start(self, then);
}

result<model::expert_ptr> assemble(supplier_ptr self, const supplier_state::job& from) {
  const auto& m = *self->state.config.model;
  using shared_weights = std::shared_ptr<compute::expert_weights>;
  auto made = from.memory ? m.tiered->store->adopt(from.key, from.memory)
                          : result<shared_weights>(model::expert_of(from.pieces));
  if (!made)
    return made.err();
  return lent_by(supplier_actor{self}, m, from.key, std::move(*made));
}

} // namespace coel::actors
