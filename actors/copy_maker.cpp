#include "actors/copy_maker.hpp"

#include "actors/lent_expert.hpp"
#include "actors/lower_copies.hpp"

#include <caf/all.hpp>

#include <cstdlib>

namespace coel::actors {

namespace {

using self_ptr = copy_maker_actor::stateful_pointer<copy_maker_state>;
using policy::residency_move;

constexpr auto period = std::chrono::milliseconds(500);
/// Use shifts slowly, and a copy costs a read; a miss in so many tokens is worth one.
constexpr policy::residency_limits limits{4096, 1.25, 1. / 512, 1};

lower_copies& board_of(const copy_maker_state& st) {
  return *st.config.model->tiered->lower;
}

size_t slot_of(const copy_maker_state& st, expert_key key) {
  return size_t{index(key.layer)} * st.config.model->config().experts + index(key.expert);
}

void learn(copy_maker_state& st) {
  const auto& board = board_of(st);
  std::vector<uint64_t> fresh(board.slots());
  for (size_t slot = 0; slot < fresh.size(); ++slot) {
    auto now = board.misses(slot);
    fresh[slot] = now - std::exchange(st.seen[slot], now);
  }
  auto tokens = board.tokens();
  st.wanted->used(fresh, tokens - std::exchange(st.seen_tokens, tokens));
}

/// Counts as if so many tokens had been seen.
void learn_of_before(copy_maker_state& st) {
  constexpr double tokens = 4096;
  std::vector<uint64_t> misses;
  for (auto rate : st.config.missed_before)
    misses.push_back(static_cast<uint64_t>(tokens * static_cast<double>(rate)));
  if (!misses.empty())
    st.wanted->used(misses, static_cast<uint64_t>(tokens));
}

void look_later(self_ptr self, steady::duration after) {
  self->delayed_send(self, after, atom::tick::value);
}

// ---- making one

void give_up(self_ptr self) {
  auto& st = self->state;
  auto failed = std::exchange(st.now, std::nullopt);
  st.wanted->moved(failed->move, false);
  look_later(self, period);
}

void read_next(self_ptr self) {
  auto& now = *self->state.now;
  auto piece = static_cast<uint32_t>(now.made.size());
  auto address = caf::actor_cast<caf::weak_actor_ptr>(copy_maker_actor{self});
  auto post = [address, number = now.number, piece](result<model::staged_read> got) {
    if (auto to = caf::actor_cast<caf::strong_actor_ptr>(address))
      caf::anon_send(caf::actor_cast<copy_maker_actor>(to),
                     piece_arrived{number, piece,
                                   std::make_shared<result<model::staged_read>>(std::move(got))});
  };
  auto ticket = self->state.config.reader->submit(
      {now.pieces[piece]}, model::read_priority::prefetch, post,
      {now.memory.get(), board_of(self->state).how().read_bytes(), now.memory});
  if (!ticket)
    post(ticket.err());
}

void make(self_ptr self, const residency_move& move) {
  auto& st = self->state;
  st.now = copy_maker_state::making{move, ++st.numbers, {}, {}, {}, steady::now()};
  auto pieces = st.config.model->tiered->files.pieces(move.key);
  st.now->memory = {static_cast<std::byte*>(std::aligned_alloc(model::direct_file::alignment,
                                                               board_of(st).how().read_bytes())),
                    [](std::byte* memory) { std::free(memory); }};
  if (!pieces || !st.now->memory)
    return give_up(self);
  st.now->pieces = std::move(*pieces);
  read_next(self);
}

/// Rests as long as it worked: other threads are there for the user.
void finish(self_ptr self) {
  auto& st = self->state;
  auto done = std::move(*std::exchange(st.now, std::nullopt));
  auto slot = slot_of(st, done.move.key);
  auto copy =
      lent_by(copy_maker_actor{self}, *st.config.model, done.move.key, model::expert_of(done.made));
  st.wanted->moved(done.move, true, copy->bytes);
  board_of(st).put(slot, std::move(copy));
  look_later(self, steady::now() - done.since);
}

void arrived(self_ptr self, const piece_arrived& what) {
  auto& st = self->state;
  if (!st.now || st.now->number != what.job)
    return;
  auto got = std::exchange(*what.got, error{ec::cancelled, "taken"});
  if (!got)
    return give_up(self);
  const auto& m = *st.config.model;
  auto made =
      board_of(st).how().make_piece(*m.device, st.now->move.key, what.piece, got->pieces.front());
  if (!made)
    return give_up(self);
  st.now->made.push_back(std::move(*made));
  if (st.now->made.size() < st.now->pieces.size())
    read_next(self);
  else
    finish(self);
}

// ---- which

/// One move at a time; what it brings about looks again.
void look(self_ptr self) {
  auto& st = self->state;
  if (st.now || st.wanted->waiting())
    return;
  learn(st);
  const auto& c = st.config.model->config();
  const auto& sizes = board_of(st).how().resident_bytes();
  auto worth = [&](size_t slot) {
    expert_key key{static_cast<layer_id>(slot / c.experts),
                   static_cast<expert_id>(slot % c.experts)};
    return sizes[slot] > 0 && st.wanted->value(key) > 0;
  };
  auto moves = st.wanted->next(board_of(st).room(), worth);
  if (moves.empty())
    return look_later(self, period);
  for (const auto& m : moves)
    if (m.come)
      make(self, m);
    else
      board_of(st).drop(slot_of(st, m.key)); // answered by what frees its memory
}

void freed(self_ptr self, expert_key key) {
  self->state.wanted->moved({key, false}, true);
  look(self);
}

void start(copy_maker_state& st) {
  const auto& c = st.config.model->config();
  policy::cache_shape shape{c.layers, c.experts};
  st.seen.resize(shape.slots());
  st.wanted =
      std::make_unique<policy::near_residency>(shape, board_of(st).how().resident_bytes(), limits);
  learn_of_before(st);
}

} // namespace

copy_maker_actor::behavior_type copy_maker(self_ptr self, copy_maker_config config) {
  self->state.config = std::move(config);
  start(self->state);
  self->send(self, atom::tick::value);
  return {
      [self](atom::status) {
        return self->state.cost.status(self, "copy maker", self->state.config.model->name);
      },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        look(self);
      },
      [self](const piece_arrived& what) {
        auto measured = self->state.cost.measure();
        arrived(self, what);
      },
      [self](atom::release, expert_key key) {
        auto measured = self->state.cost.measure();
        freed(self, key);
      },
  };
}

} // namespace coel::actors
