#include "actors/expert.hpp"

#include "actors/errors.hpp"
#include "actors/lower_copies.hpp"
#include "actors/near_memory.hpp"
#include "actors/tiering.hpp"
#include "model/weights.hpp"

#include <caf/all.hpp>

namespace coel::actors {

namespace {

using self_ptr = expert_actor::stateful_pointer<expert_state>;

/// Where routed experts may lie in the device's own memory; null for all others.
near_memory* board_of(const expert_state& st) {
  const auto& m = *st.config.model;
  return index(st.config.key.expert) < m.config().experts ? m.near.get() : nullptr;
}

bool lent_by_supplier(const expert_state& st) {
  const auto& m = *st.config.model;
  return m.tiered && index(st.config.key.expert) < m.config().experts;
}

void keep(expert_state& st, const lease& got, bool near) {
  st.held = got;
  st.near = near;
  if (auto* board = board_of(st)) {
    board->place(st.config.key, near ? got : lease{});
    board->far(st.config.key, !near);
  } else if (const auto& m = *st.config.model; m.near) {
    m.near->place_shared(st.config.key, got);
    if (auto bytes = model::expert_file_bytes(*m.source, st.config.key))
      m.near->shared_came(*bytes);
  }
}

void settle(expert_state& st, const caf::expected<lease>& outcome) {
  st.loading = false;
  auto waiting = std::move(st.waiting);
  st.waiting.clear();
  for (auto& promise : waiting)
    if (outcome)
      promise.deliver(*outcome);
    else
      promise.deliver(outcome.error());
}

/// The node's other memory is full. If this one is too, the other's words say what to do.
void ask_near(self_ptr self, const caf::error& full) {
  auto& st = self->state;
  self->request(board_of(st)->tier(), caf::infinite, atom::fetch::value, st.config.model,
                st.config.key)
      .then(
          [self](const lease& got) {
            keep(self->state, got, true);
            settle(self->state, got);
          },
          [self, full](caf::error&) { settle(self->state, full); });
}

void ask_tier(self_ptr self) {
  auto& st = self->state;
  self->request(st.config.home, caf::infinite, atom::fetch::value, st.config.model, st.config.key)
      .then(
          [self](const lease& got) {
            keep(self->state, got, false);
            settle(self->state, got);
          },
          [self](caf::error& failure) {
            if (board_of(self->state) && from_caf(failure).code == ec::out_of_memory)
              ask_near(self, failure);
            else
              settle(self->state, std::move(failure));
          });
}

/// Its bytes first, if they are still with neighbours.
void ensure(self_ptr self, bool urgent) {
  auto& st = self->state;
  st.urgent = urgent;
  self->request(st.config.model->fetcher, caf::infinite, atom::ensure::value, st.config.key, urgent)
      .then([self](bool) { ask_tier(self); },
            [self](caf::error& failure) { settle(self->state, std::move(failure)); });
}

/// One fetch at a time, however many ask.
void fetch(self_ptr self, bool urgent) {
  const auto& m = *self->state.config.model;
  self->state.loading = true;
  self->state.urgent = true;
  if (m.fetcher && !m.presence->present(self->state.config.key))
    ensure(self, urgent);
  else
    ask_tier(self);
}

/// A request waits now for what the plan alone had asked for.
void hurry(self_ptr self) {
  auto& st = self->state;
  st.urgent = true;
  self->request(st.config.model->fetcher, caf::infinite, atom::ensure::value, st.config.key, true)
      .then([](bool) {}, [](caf::error&) {});
}

caf::result<lease> hold(self_ptr self, bool urgent) {
  auto& st = self->state;
  if (st.held.weights)
    return st.held;
  auto promise = self->make_response_promise<lease>();
  st.waiting.push_back(promise);
  if (st.moving)
    return promise; // it is there soon, or it is fetched then
  if (!st.loading)
    fetch(self, urgent);
  else if (urgent && !st.urgent)
    hurry(self);
  return promise;
}

/// The tier gets its bytes back when the last lease ends (tier.cpp: returned_to).
uint64_t drop(expert_state& st) {
  uint64_t bytes = st.held.weights ? st.held.weights->bytes : 0;
  st.left = st.moving;
  st.near = false;
  st.held.weights.reset();
  if (auto* board = board_of(st)) {
    board->place(st.config.key, {});
    board->far(st.config.key, false);
  } else if (const auto& m = *st.config.model; m.near) {
    m.near->place_shared(st.config.key, {});
    if (auto in_file = model::expert_file_bytes(*m.source, st.config.key); bytes && in_file)
      m.near->shared_left(*in_file);
  }
  return bytes;
}

/// Where it was is free when the last lease of it ends.
void moved(self_ptr self, const lease& got, bool near,
           caf::typed_response_promise<uint64_t> promise) {
  auto& st = self->state;
  st.moving = false;
  if (std::exchange(st.left, false) && st.waiting.empty()) {
    promise.deliver(to_caf({ec::cancelled, "it was sent away"}));
    return;
  }
  keep(st, got, near);
  settle(st, got);
  promise.deliver(got.weights->bytes);
}

void stayed(self_ptr self, caf::error why, caf::typed_response_promise<uint64_t> promise) {
  auto& st = self->state;
  st.moving = st.left = false;
  if (!st.waiting.empty())
    fetch(self, true);
  promise.deliver(std::move(why));
}

caf::result<uint64_t> move(self_ptr self, bool near) {
  auto& st = self->state;
  auto* board = board_of(st);
  if (!board)
    return to_caf({ec::internal, "only routed experts move, and only where there is memory to"});
  if (st.moving || st.loading)
    return to_caf({ec::busy, "it moves already"});
  if (st.held.weights && st.near == near)
    return st.held.weights->bytes;
  if (!near && lent_by_supplier(st)) // who reads it again when it is asked for
    return drop(st);
  st.moving = true;
  auto promise = self->make_response_promise<uint64_t>();
  self->request(near ? board->tier() : st.config.home, caf::infinite, atom::fetch::value,
                st.config.model, st.config.key)
      .then([=](const lease& got) { moved(self, got, near, promise); },
            [=](caf::error& why) { stayed(self, std::move(why), promise); });
  return promise;
}

struct presence {
  uint64_t rows, bytes;
  std::string residency;
};

size_t slot_of(const expert_state& st) {
  return size_t{index(st.config.key.layer)} * st.config.model->config().experts +
         index(st.config.key.expert);
}

/// Of a model of which not all experts fit the supplier knows.
presence presence_of(const expert_state& st) {
  const auto& m = *st.config.model;
  if (st.near)
    return {board_of(st)->rows(slot_of(st)), st.held.weights->bytes, "card"};
  if (lent_by_supplier(st)) {
    auto slot = slot_of(st);
    const auto& line = m.tiered->board[slot];
    const auto& lower = m.tiered->lower;
    if (auto bytes = lower && line.bytes == 0 ? lower->bytes(slot) : 0; bytes > 0)
      return {line.rows, bytes, "ram in " + std::string(to_string(lower->how().type()))};
    return {line.rows, line.bytes, line.bytes > 0 ? "ram" : "ssd"};
  }
  bool here = st.held.weights != nullptr;
  const char* place = m.near && !board_of(st) ? "card" : "ram"; // what every token uses is there
  return {st.rows, here ? st.held.weights->bytes : 0, here ? place : "absent"};
}

} // namespace

expert_actor::behavior_type expert(self_ptr self, expert_config config) {
  self->state.config = std::move(config);
  return {
      [self](atom::status) {
        const auto& st = self->state;
        return st.cost.status(self, "expert " + to_string(st.config.key), st.config.model->name);
      },
      [self](atom::acquire, uint32_t rows) -> caf::result<lease> {
        auto measured = self->state.cost.measure();
        self->state.rows += rows;
        if (auto* board = board_of(self->state); board && rows)
          board->chosen(self->state.config.key, rows);
        return hold(self, rows > 0);
      },
      [self](atom::load) -> caf::result<uint64_t> {
        auto promise = self->make_response_promise<uint64_t>();
        self->request(expert_actor{self}, caf::infinite, atom::acquire::value, uint32_t{0})
            .then([promise](const lease& got) mutable { promise.deliver(got.weights->bytes); },
                  [promise](caf::error& failure) mutable { promise.deliver(std::move(failure)); });
        return promise;
      },
      [self](atom::load, bool near) -> caf::result<uint64_t> { return move(self, near); },
      [self](atom::evict) -> caf::result<uint64_t> { return drop(self->state); },
      [self](atom::details) {
        const auto& st = self->state;
        auto [rows, bytes, residency] = presence_of(st);
        return expert_status{st.config.key,
                             rows,
                             bytes,
                             residency,
                             st.config.type,
                             st.cost.messages(),
                             st.cost.busy_us(),
                             static_cast<uint32_t>(self->mailbox().size())};
      },
  };
}

} // namespace coel::actors
