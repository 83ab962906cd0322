#include "actors/fetcher.hpp"

#include "actors/errors.hpp"
#include "model/mirror_opening.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = fetcher_actor::stateful_pointer<fetcher_state>;
using model::chunk_id;
using model::peer_id;
using namespace std::chrono_literals;

constexpr auto tick_every = 200ms;
/// A link answers before, at the latest with deadline.
constexpr auto piece_patience = 30s;
constexpr auto silence_after_trouble = 10s;
/// Chunks that came last are recorded when nothing follows them for so long.
constexpr auto record_after = 1s;

/// By urgency; smaller is first.
constexpr uint32_t to_open = 0, for_a_request = 1, for_every_token = 2, for_the_plan = 3;

uint64_t now_us() {
  return us_between(steady::time_point{}, steady::now());
}

peer_id peer_of(node_id id) {
  return static_cast<peer_id>(index(id));
}

// ---- what is wanted

std::vector<chunk_id> missing(const model::mirror& in,
                              const std::vector<model::byte_range>& ranges) {
  std::set<chunk_id> chunks;
  for (const auto& range : ranges)
    for (auto chunk : in.missing(range))
      chunks.insert(chunk);
  return {chunks.begin(), chunks.end()};
}

fetch_goals::goal_id want(fetcher_state& st, const std::vector<chunk_id>& chunks,
                          uint32_t priority) {
  auto goal = st.goals.add(chunks, priority);
  for (auto chunk : chunks)
    st.planner->want(chunk, st.goals.priority(chunk));
  return goal;
}

void give_up(fetcher_state& st, fetch_goals::goal_id goal) {
  for (auto chunk : st.goals.drop(goal))
    st.planner->drop(chunk);
}

// ---- opening

void answer_open(fetcher_state& st) {
  for (auto& promise : std::exchange(st.waiting, {}))
    if (st.unusable)
      promise.deliver(to_caf(*st.unusable));
    else
      promise.deliver(st.opened);
}

/// Headers, then what every token needs: what is missing next; nothing: the model is open.
result<std::vector<chunk_id>> next_to_open(fetcher_state& st) {
  const auto& mirror = *st.config.mirror;
  if (!st.places) {
    auto headers = model::opening_ranges(mirror);
    if (!headers)
      return headers.err();
    if (!headers->empty())
      return missing(mirror, *headers);
    auto source = model::open_mirror(mirror);
    if (!source)
      return source.err();
    auto places = model::tensor_places::find(**source, mirror.description());
    if (!places)
      return places.err();
    st.source = std::move(*source);
    st.places = std::move(*places);
  }
  return missing(mirror, st.places->dense());
}

void open_further(fetcher_state& st) {
  st.opening.reset();
  auto chunks = next_to_open(st);
  if (!chunks) {
    st.unusable = chunks.err();
    return answer_open(st);
  }
  if (!chunks->empty()) {
    st.opening = want(st, *chunks, st.places ? for_every_token : to_open);
    return;
  }
  st.opened = std::make_shared<const opened_mirror>(
      opened_mirror{st.source, model::presence_in(st.config.mirror, std::move(*st.places))});
  st.places.reset();
  answer_open(st);
}

// ---- what comes

void settle(fetcher_state& st, chunk_id chunk) {
  for (auto goal : st.goals.arrived(chunk)) {
    if (st.opening == goal)
      open_further(st);
    else if (auto expert = st.experts.extract(goal))
      expert.mapped().deliver(true);
  }
}

/// The chunk is whole: its hash decides.
void take_chunk(fetcher_state& st, const fetcher_state::incoming& in) {
  auto& peer = st.peers.at(in.from);
  auto stored = st.config.mirror->store(in.chunk, in.bytes);
  if (stored) {
    st.planner->arrived(in.from, in.chunk, now_us());
    peer.done.bytes += in.bytes.size();
    st.done_bytes += in.bytes.size();
    st.trouble.reset();
    st.stored = steady::now();
    st.unrecorded = true;
    settle(st, in.chunk);
  } else if (stored.err().code == ec::bad_file) {
    st.planner->lied(in.from, in.chunk, now_us());
    ++peer.done.wrong;
  } else {
    st.planner->released(in.from, in.chunk);
    st.trouble = stored.err();
    st.silent_until = steady::now() + silence_after_trouble;
  }
}

void ask_piece(self_ptr self, uint64_t serial);

void take_piece(self_ptr self, uint64_t serial, const file_block& block, uint64_t asked) {
  auto& st = self->state;
  auto at = st.coming.find(serial);
  if (at == st.coming.end())
    return;
  auto& in = at->second;
  bool wanted = st.planner->wanted(in.chunk); // not if it came from somebody faster
  bool right_size = block.bytes.size() == asked;
  if (wanted && right_size) {
    in.bytes.insert(in.bytes.end(), block.bytes.begin(), block.bytes.end());
    if (in.bytes.size() < st.config.mirror->description().place(in.chunk).length)
      return ask_piece(self, serial);
    take_chunk(st, in);
  } else if (wanted) {
    st.planner->lied(in.from, in.chunk, now_us());
    ++st.peers.at(in.from).done.wrong;
  } else {
    st.planner->released(in.from, in.chunk);
  }
  st.coming.erase(serial);
}

void piece_failed(self_ptr self, uint64_t serial, const error& why) {
  auto& st = self->state;
  auto in = st.coming.extract(serial);
  if (in.empty())
    return;
  auto from = in.mapped().from;
  if (why.code == ec::bad_argument || why.code == ec::unknown_model)
    st.planner->refused(from, in.mapped().chunk, now_us());
  else if (why.code == ec::deadline)
    st.planner->released(from, in.mapped().chunk);
  else {
    st.planner->peer_gone(from); // until its next record
    st.peers.at(from).record = nullptr;
  }
}

// ---- what is asked

void send_requests(self_ptr self) {
  auto& st = self->state;
  if (steady::now() < st.silent_until)
    return;
  for (const auto& request : st.planner->plan(now_us())) {
    auto serial = ++st.serials;
    st.coming[serial] = {request.peer, request.chunk, {}};
    ask_piece(self, serial);
  }
}

void ask_piece(self_ptr self, uint64_t serial) {
  auto& st = self->state;
  const auto& in = st.coming.at(serial);
  const auto& description = st.config.mirror->description();
  auto place = description.place(in.chunk);
  auto length = std::min<uint64_t>(st.config.piece_bytes, place.length - in.bytes.size());
  file_want ask{description.hash(), place.file, place.offset + in.bytes.size(),
                static_cast<uint32_t>(length)};
  self->request(st.peers.at(in.from).link, piece_patience, ask)
      .then(
          [=](const file_block& block) {
            auto measured = self->state.cost.measure();
            take_piece(self, serial, block, length);
            send_requests(self);
          },
          [=](caf::error& why) {
            piece_failed(self, serial, from_caf(why));
            send_requests(self);
          });
}

// ---- experts

bool obtainable(const fetcher_state& st, fetch_goals::goal_id goal) {
  const auto& chunks = st.goals.missing(goal);
  auto now = now_us();
  return std::all_of(chunks.begin(), chunks.end(),
                     [&](auto chunk) { return st.planner->obtainable(chunk, now); });
}

error not_obtainable(const fetcher_state& st) {
  if (st.trouble)
    return *st.trouble;
  return {ec::expert_not_here,
          "a part of '" + st.config.model + "' is not here, and no neighbour that is up has it"};
}

caf::result<bool> ensure(self_ptr self, expert_key key, bool urgent) {
  auto& st = self->state;
  if (!st.opened)
    return to_caf({ec::expert_not_here, "'" + st.config.model + "' is not open yet"});
  auto chunks = st.opened->presence->missing(key);
  if (chunks.empty())
    return true;
  auto goal = want(st, chunks, urgent ? for_a_request : for_the_plan);
  if (st.trouble || !obtainable(st, goal)) {
    give_up(st, goal);
    return to_caf(not_obtainable(st));
  }
  auto promise = self->make_response_promise<bool>();
  st.experts.emplace(goal, promise);
  send_requests(self);
  return promise;
}

/// Who waits for what nobody has is told so: others may go on.
void fail_hopeless(fetcher_state& st) {
  std::vector<fetch_goals::goal_id> hopeless;
  for (const auto& [goal, promise] : st.experts)
    if (st.trouble || !obtainable(st, goal))
      hopeless.push_back(goal);
  for (auto goal : hopeless) {
    give_up(st, goal);
    st.experts.extract(goal).mapped().deliver(to_caf(not_obtainable(st)));
  }
}

// ---- neighbours

model::chunk_set chunks_of(const member& who, const model::manifest& m) {
  if (!who.up || !who.record)
    return model::chunk_set();
  for (const auto& r : who.record->models) {
    if (r.hash != m.hash())
      continue;
    if (r.complete)
      return model::chunk_set::all(m.chunks());
    auto part = model::chunk_set::decode(std::as_bytes(std::span(r.chunks.bytes())), m.chunks());
    return part ? std::move(*part) : model::chunk_set();
  }
  return model::chunk_set();
}

void meet(fetcher_state& st, const member& who) {
  auto id = peer_of(who.id);
  auto known = st.peers.find(id);
  if (known != st.peers.end() && known->second.up == who.up && known->second.record == who.record)
    return;
  auto chunks = chunks_of(who, st.config.mirror->description());
  if (known == st.peers.end() && chunks.count() == 0)
    return;
  auto& peer = st.peers[id];
  peer.link = who.link;
  peer.record = who.record;
  peer.up = who.up;
  peer.done.id = who.id;
  peer.done.name = who.name;
  if (chunks.count())
    st.planner->peer_has(id, std::move(chunks));
  else
    st.planner->peer_gone(id);
}

void take_members(self_ptr self, const members_ptr& members) {
  auto& st = self->state;
  for (const auto& who : *members)
    meet(st, who);
  for (auto& [id, peer] : st.peers) {
    bool known = std::any_of(members->begin(), members->end(),
                             [&, id = id](const member& m) { return peer_of(m.id) == id; });
    if (!known && peer.up) {
      peer.up = false;
      peer.record = nullptr;
      st.planner->peer_gone(id);
    }
  }
  fail_hopeless(st);
  send_requests(self);
}

// ---- clock

/// Chunks that nobody could bring are asked for again.
void revive_failed(fetcher_state& st) {
  if (st.opening)
    for (auto chunk : std::set(st.planner->failed()))
      if (st.goals.missing(*st.opening).contains(chunk))
        st.planner->want(chunk, st.goals.priority(chunk));
}

void tick(self_ptr self) {
  auto& st = self->state;
  if (st.unrecorded && steady::now() - st.stored > record_after) {
    st.unrecorded = false;
    if (auto ok = st.config.mirror->record(); !ok)
      st.trouble = ok.err();
  }
  if (st.trouble && steady::now() >= st.silent_until)
    st.trouble.reset();
  revive_failed(st);
  self->request(st.config.perception, 5s, atom::members::value)
      .then([self](const members_ptr& members) { take_members(self, members); },
            [](caf::error&) {});
  self->delayed_send(self, tick_every, atom::tick::value);
}

/// Before the headers are here nobody knows how much the rest is.
fetch_status details(const fetcher_state& st) {
  fetch_status out;
  out.model = st.config.model;
  out.opened = st.opened != nullptr;
  const auto& description = st.config.mirror->description();
  auto wanted = st.planner->progress(now_us()).wanted_bytes;
  out.done_bytes = st.done_bytes;
  out.of_bytes = st.opened || st.places ? st.done_bytes + wanted : description.bytes();
  if (st.trouble)
    out.trouble = st.trouble->message;
  for (const auto& [id, peer] : st.peers)
    out.peers.push_back(peer.done);
  return out;
}

} // namespace

fetcher_actor::behavior_type fetcher(self_ptr self, fetcher_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  auto planning = st.config.planning;
  planning.most_outstanding = st.config.chunks_per_peer;
  st.planner.emplace(st.config.mirror->description(), planning);
  open_further(st);
  self->send(self, atom::tick::value);
  return {
      [self](atom::ensure, expert_key key, bool urgent) -> caf::result<bool> {
        auto measured = self->state.cost.measure();
        return ensure(self, key, urgent);
      },
      [self](atom::status) {
        return self->state.cost.status(self, "fetcher", self->state.config.model);
      },
      [self](atom::open) -> caf::result<opened_mirror_ptr> {
        auto promise = self->make_response_promise<opened_mirror_ptr>();
        self->state.waiting.push_back(promise);
        if (self->state.opened || self->state.unusable)
          answer_open(self->state);
        return promise;
      },
      [self](atom::details) { return details(self->state); },
      [self](atom::tick) {
        auto measured = self->state.cost.measure();
        tick(self);
      },
  };
}

} // namespace coel::actors
