#include "actors/link.hpp"

#include "actors/errors.hpp"
#include "actors/link_guests.hpp"
#include "actors/link_questions.hpp"
#include "actors/link_service.hpp"
#include "actors/link_stages.hpp"
#include "net/node_record.hpp"

#include <caf/all.hpp>

#include <random>

namespace coel::actors {

std::string who(const link_state& st) {
  return "node " + (st.peer_name.empty() ? st.config.to.endpoint : st.peer_name);
}

bool is_up(const link_state& st) {
  return st.handshake->now() == net::link_handshake::state::up;
}

bool send(link_state& st, zmq::message_t message) {
  auto bytes = message.size();
  if (!st.sender || st.sender->send(message) != net::link_sender::outcome::sent)
    return false;
  ++st.counts.frames_out;
  st.counts.bytes_out += bytes;
  return true;
}

namespace {

using self_ptr = link_ptr;
using handshake = net::link_handshake;

constexpr std::chrono::milliseconds tick_every{50};
constexpr uint64_t record_every = 60; // ticks

/// Of nothing that neighbours are told: who could guess the nonces of a greeting could answer it
/// in the place of another.
uint64_t unguessable() {
  std::random_device source;
  return (uint64_t{source()} << 32) | source();
}

link_event event_of(const link_state& st, link_event::kind what) {
  link_event made;
  made.serial = st.config.serial;
  made.what = what;
  return made;
}

void notify(self_ptr self, link_event what) {
  self->send(self->state.config.perception, std::move(what));
}

void tell_record(link_state& st) {
  if (st.record && is_up(st))
    send(st, net::encode(net::record_frame{*st.record}));
}

void open_connection(self_ptr self) {
  auto& st = self->state;
  st.sender.reset();
  auto made = net::link_sender::open(*st.config.context, st.config.to);
  if (made)
    st.sender.emplace(std::move(*made));
}

void apply(self_ptr self, handshake::actions todo) {
  auto& st = self->state;
  if (auto nonce = st.handshake->nonce(); nonce && nonce != std::exchange(st.announced, nonce)) {
    auto greets = event_of(st, link_event::kind::greeting);
    greets.nonce = nonce;
    notify(self, std::move(greets));
  }
  for (auto& message : todo.send)
    send(st, std::move(message));
  if (todo.reopen)
    open_connection(self);
  if (todo.went_down) {
    ++st.counts.times_down;
    error why{ec::io, who(st) + ": " + todo.went_down->message};
    st.counts.failed += st.sums.size();
    fail_questions(st, why);
    part_from_guests(self, why);
    auto down = event_of(st, link_event::kind::down);
    down.why = why;
    notify(self, std::move(down));
  }
  if (todo.came_up) {
    const auto& theirs = *st.handshake->theirs();
    st.peer_name = theirs.name;
    auto up = event_of(st, link_event::kind::up);
    up.boot = theirs.boot;
    up.name = theirs.name;
    notify(self, std::move(up));
    tell_record(st);
  }
}

/// The neighbour does not keep to the protocol: everything it owes is asked of others.
void distrust(self_ptr self, const error& why) {
  ++self->state.counts.bad_frames;
  apply(self, self->state.handshake->lost(
                  {why.code, "sent a frame that is refused: " + why.message}, steady::now()));
}

/// A decoded frame, or nothing when it was refused.
template <class Frame>
std::optional<Frame> take(self_ptr self, result<Frame> decoded) {
  if (decoded)
    return std::move(*decoded);
  distrust(self, decoded.err());
  return {};
}

void record_came(self_ptr self, const net::record_frame& frame) {
  auto record = take(self, net::unpack_node_record(frame.bytes));
  if (!record)
    return;
  auto told = event_of(self->state, link_event::kind::record);
  told.record = std::make_shared<const node_record>(std::move(*record));
  notify(self, std::move(told));
}

// ---- frames

/// Frames that belong to the life of the link; false: another kind.
bool take_control(self_ptr self, net::link_frame_kind kind, std::span<const std::byte> bytes) {
  auto& shake = *self->state.handshake;
  auto now = steady::now();
  using k = net::link_frame_kind;
  switch (kind) {
  case k::greeting:
    if (auto f = take(self, net::decode_greeting(bytes)))
      apply(self, shake.greeted(*f, now));
    return true;
  case k::refusal:
    if (auto f = take(self, net::decode_refusal(bytes)))
      apply(self, shake.refused(*f, now));
    return true;
  case k::ping:
    if (auto f = take(self, net::decode_ping(bytes)))
      apply(self, shake.pinged(*f, now));
    return true;
  case k::pong:
    if (auto f = take(self, net::decode_ping(bytes)))
      apply(self, shake.pong(*f, now));
    for (auto all = self->state.config.models->all(); const auto& m : *all)
      m.model->costs->pinged(self->state.config.id,
                             static_cast<double>(shake.round_trip().count()));
    return true;
  case k::goodbye:
    if (auto f = take(self, net::decode_goodbye(bytes)))
      apply(self, shake.parted(*f, now));
    return true;
  default:
    return false;
  }
}

void take_dispatch(self_ptr self, std::span<const std::byte> bytes) {
  auto asked = net::decode_dispatch(bytes);
  if (asked)
    return help_with_experts(self, std::move(*asked));
  if (asked.err().code != ec::bad_argument)
    return distrust(self, asked.err());
  ++self->state.counts.bad_frames; // a model that overflows is no reason to part
  answer_failure(self, *net::id_of(bytes), asked.err());
}

void take_output(self_ptr self, std::span<const std::byte> bytes) {
  auto asked = net::decode_output(bytes);
  if (asked)
    return help_with_output(self, std::move(*asked));
  if (asked.err().code != ec::bad_argument)
    return distrust(self, asked.err());
  ++self->state.counts.bad_frames;
  answer_failure(self, *net::id_of(bytes), asked.err());
}

void take_sum(self_ptr self, std::span<const std::byte> bytes) {
  auto sum = net::decode_sum(bytes);
  if (sum)
    return sum_came(self, std::move(*sum), bytes.size());
  if (sum.err().code != ec::bad_argument)
    return distrust(self, sum.err());
  unusable_sum_came(self, *net::id_of(bytes), sum.err().message);
}

/// Who sends rows that are no numbers computes wrongly, but keeps to the protocol; the home's
/// patience ends.
template <class Frame>
std::optional<Frame> take_rows(self_ptr self, result<Frame> decoded) {
  if (!decoded && decoded.err().code == ec::bad_argument) {
    ++self->state.counts.bad_frames;
    return {};
  }
  return take(self, std::move(decoded));
}

/// Frames about layers of sessions; false: another kind.
bool take_stages(self_ptr self, net::link_frame_kind kind, std::span<const std::byte> bytes) {
  using k = net::link_frame_kind;
  switch (kind) {
  case k::stage_open:
    if (auto f = take(self, net::decode_stage_open(bytes)))
      serve_stage(self, *f);
    return true;
  case k::stage_granted:
    if (auto f = take(self, net::decode_stage_granted(bytes)))
      stage_granted(self, *f);
    return true;
  case k::stage_close:
    if (auto f = take(self, net::decode_stage_close(bytes)))
      close_stage(self, *f);
    return true;
  case k::stage_run:
    if (auto f = take_rows(self, net::decode_stage_run(bytes)))
      take_run(self, std::move(*f));
    return true;
  case k::stage_answer:
    if (auto f = take_rows(self, net::decode_stage_answer(bytes)))
      take_answer(self, std::move(*f));
    return true;
  default:
    return false;
  }
}

void take_work(self_ptr self, net::link_frame_kind kind, std::span<const std::byte> bytes) {
  using k = net::link_frame_kind;
  if (take_stages(self, kind, bytes))
    return;
  switch (kind) {
  case k::dispatch:
    return take_dispatch(self, bytes);
  case k::output:
    return take_output(self, bytes);
  case k::sum:
    return take_sum(self, bytes);
  case k::failure:
    if (auto f = take(self, net::decode_failure(bytes)))
      failure_came(self, *f);
    return;
  case k::record:
    if (auto f = take(self, net::decode_record(bytes)))
      record_came(self, *f);
    return;
  case k::want:
    if (auto f = take(self, net::decode_want(bytes)))
      serve_block(self, *f);
    return;
  case k::block:
    if (auto f = take(self, net::decode_block(bytes)))
      block_came(self, std::move(*f), bytes.size());
    return;
  case k::reservation:
    if (auto f = take(self, net::decode_reservation(bytes))) {
      auto said = event_of(self->state, link_event::kind::reserve);
      said.reservation = std::move(*f);
      notify(self, std::move(said));
    }
    return;
  case k::guest:
    if (auto f = take(self, net::decode_guest(bytes)))
      receive_guest(self, *f);
    return;
  case k::guest_answer:
    if (auto f = take(self, net::decode_guest_answer(bytes)))
      guest_answered(self, *f);
    return;
  case k::guest_end:
    if (auto f = take(self, net::decode_guest_end(bytes)))
      dismiss_guest(self, f->id);
    return;
  case k::drain:
    if (take(self, net::decode_drain(bytes)))
      notify(self, event_of(self->state, link_event::kind::drain));
    return;
  default:
    return;
  }
}

/// The neighbour still thinks that the link is up: without a word it would wait out its patience.
void decline_work(self_ptr self, net::link_frame_kind kind, std::span<const std::byte> bytes) {
  error why{ec::io, "its side of the link is not up"};
  if (kind == net::link_frame_kind::dispatch) {
    if (auto asked = net::decode_dispatch(bytes))
      answer_failure(self, asked->head.id, why);
  } else if (kind == net::link_frame_kind::output) {
    if (auto asked = net::decode_output(bytes))
      answer_failure(self, asked->head.id, why);
  } else if (kind == net::link_frame_kind::want) {
    if (auto asked = net::decode_want(bytes))
      answer_failure(self, asked->id, why);
  } else if (kind == net::link_frame_kind::guest) {
    if (auto asked = net::decode_guest(bytes))
      refuse_guest(self->state, asked->id, why);
  } else if (kind == net::link_frame_kind::stage_open) {
    if (auto asked = net::decode_stage_open(bytes))
      answer_failure(self, asked->id, why);
  }
}

void take_frame(self_ptr self, const frame_ptr& frame) {
  auto& st = self->state;
  auto bytes = bytes_of(frame);
  ++st.counts.frames_in;
  st.counts.bytes_in += bytes.size();
  auto kind = net::kind_of(bytes);
  if (!kind)
    return distrust(self, {ec::bad_frame, "of no known kind"});
  st.handshake->heard(steady::now());
  if (take_control(self, *kind, bytes))
    return;
  // Their side may be up a moment before ours, and then tells its record at once.
  if (is_up(st) || *kind == net::link_frame_kind::record)
    take_work(self, *kind, bytes);
  else
    decline_work(self, *kind, bytes);
}

// ---- clock

void take_news(self_ptr self) {
  auto& st = self->state;
  if (!st.sender)
    return;
  for (const auto& news : st.sender->take_news()) {
    auto now = steady::now();
    switch (news.what) {
    case net::link_sender::event::connected:
      apply(self, st.handshake->connected(now));
      break;
    case net::link_sender::event::refused:
      apply(self, st.handshake->refused({0, {ec::io, news.text}}, now));
      break;
    case net::link_sender::event::lost:
      apply(self, st.handshake->lost({ec::io, "the connection broke"}, now));
      break;
    }
  }
}

void tick(self_ptr self) {
  auto& st = self->state;
  take_news(self);
  apply(self, st.handshake->tick(steady::now()));
  give_up_late(st);
  if (++st.ticks % record_every == 0)
    tell_record(st); // again: only their side knows whether it was there to hear it
  self->delayed_send(self, tick_every, atom::tick::value);
}

std::string state_name(handshake::state s) {
  switch (s) {
  case handshake::state::connecting:
    return "connecting";
  case handshake::state::greeting:
    return "greeting";
  case handshake::state::up:
    return "up";
  case handshake::state::waiting:
    return "waiting";
  case handshake::state::refused:
    return "refused";
  case handshake::state::closed:
    return "closed";
  }
  return "?";
}

link_status details(const link_state& st) {
  const auto& shake = *st.handshake;
  auto why = shake.last_error();
  return {st.config.id,
          st.config.to.endpoint,
          st.peer_name,
          state_name(shake.now()),
          why ? why->message : "",
          static_cast<uint32_t>(shake.round_trip().count()),
          static_cast<uint32_t>(shake.variation().count()),
          st.goodput.measured() ? static_cast<uint64_t>(st.goodput.bytes_per_s()) : 0,
          static_cast<uint32_t>(st.sums.size()),
          st.counts};
}

/// What is owed to others must not die with the actor: they would wait for ever.
void stop(self_ptr self, caf::exit_msg& end) {
  error why{ec::shutting_down, "the link to " + who(self->state) + " was closed"};
  fail_questions(self->state, why);
  part_from_guests(self, why);
  self->quit(std::move(end.reason));
}

} // namespace

neighbour_actor::behavior_type link(self_ptr self, link_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  st.handshake.emplace(st.config.own, unguessable(), steady::now());
  open_connection(self);
  self->delayed_send(self, tick_every, atom::tick::value);
  self->set_exit_handler([self](caf::exit_msg& end) { stop(self, end); });
  self->set_down_handler([self](caf::down_msg& down) { guest_is_gone(self, down); });
  return {
      [self](atom::status) {
        const auto& now = self->state;
        return now.cost.status(
            self, "link " + (now.peer_name.empty() ? now.config.to.endpoint : now.peer_name));
      },
      [self](const remote_dispatch& ask) -> caf::result<partial_sum> {
        auto measured = self->state.cost.measure();
        return ask_for_experts(self, ask);
      },
      [self](const remote_output& ask) -> caf::result<partial_sum> {
        auto measured = self->state.cost.measure();
        return ask_for_output(self, ask);
      },
      [self](const stage_open& ask) { return ask_for_stage(self, ask); },
      [self](const stage_close& what) { pass_close(self, what); },
      [self](const stage_run& run) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        return pass_run(self, run);
      },
      [self](const stage_answer& said) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        return pass_answer(self, said);
      },
      [self](const file_want& ask) -> caf::result<file_block> {
        auto measured = self->state.cost.measure();
        return ask_for_block(self, ask);
      },
      [self](const guest_order& order) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        return send_guest(self, order);
      },
      [self](atom::cancel, request_id id) { take_guest_back(self, id); },
      [self](const app_answer& said) {
        auto measured = self->state.cost.measure();
        answer_for_guest(self, said);
      },
      [self](atom::tell, const std::shared_ptr<const std::vector<std::byte>>& record) {
        self->state.record = record;
        tell_record(self->state);
      },
      [self](const reservation_message& word) {
        if (is_up(self->state))
          send(self->state, net::encode(word));
      },
      [self](atom::begin, node_id id) { self->state.config.id = id; },
      [self](atom::drain) -> caf::result<bool> {
        auto& now = self->state;
        if (!is_up(now) || !send(now, net::encode(net::drain_frame{})))
          return to_caf({ec::io, who(now) + " is not connected"});
        return true;
      },
      [self](atom::leave, const std::string& reason) {
        send(self->state, net::encode(net::goodbye_frame{reason}));
      },
      [self](atom::frame, const frame_ptr& frame) {
        auto measured = self->state.cost.measure();
        take_frame(self, frame);
      },
      [self](atom::gone) {
        // Else it only makes its connection anew, and ours need not be: two sides that each gave up
        // theirs because the other did would go on for ever.
        if (is_up(self->state))
          apply(self, self->state.handshake->lost({ec::io, "its connection broke"}, steady::now()));
      },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        tick(self);
      },
      [self](atom::details) { return details(self->state); },
  };
}

} // namespace coel::actors
