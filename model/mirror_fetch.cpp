#include "model/mirror_fetch.hpp"

#include <algorithm>

namespace coel::model {

namespace {

constexpr double newest_weight = 0.25; // of a measurement in the average: some chunks to settle
constexpr double least_bytes_per_us = 1e-4; // so that no time is endless
constexpr double timeout_factor = 4;        // times what the peer's speed lets expect
/// A peer slower than the fastest by this factor is not worth waiting for, and a plan need not look
/// further ahead.
constexpr uint32_t look_ahead = 512;

uint64_t doubled(uint64_t first, uint32_t times, uint64_t most) {
  for (uint32_t i = 0; i < times && first < most; ++i)
    first *= 2;
  return std::min(first, most);
}

} // namespace

void fetch_planner::want(chunk_id chunk, uint32_t priority) {
  if (index(chunk) >= description_.chunks())
    return;
  failed_.erase(chunk);
  auto [at, added] = wanted_.try_emplace(chunk);
  turns_are_old_ = turns_are_old_ || added || at->second.priority != priority;
  at->second.priority = priority;
}

void fetch_planner::drop(chunk_id chunk) {
  wanted_.erase(chunk);
  failed_.erase(chunk);
}

void fetch_planner::peer_has(peer_id id, chunk_set chunks) {
  auto& peer = peers_[id];
  peer.has = std::move(chunks);
  peer.here = true;
  turns_are_old_ = true;
}

void fetch_planner::peer_gone(peer_id id) {
  auto found = peers_.find(id);
  if (found == peers_.end())
    return;
  auto& peer = found->second;
  peer.here = false;
  peer.has = chunk_set();
  peer.asked.clear();
  peer.late.clear();
  peer.asked_bytes = 0;
  turns_are_old_ = true;
}

double fetch_planner::rate(const peer_state& peer) const {
  return peer.bytes_per_us > 0 ? peer.bytes_per_us : options_.assumed_bytes_per_us;
}

double fetch_planner::bytes_per_us(peer_id id) const {
  auto found = peers_.find(id);
  return found == peers_.end() ? 0 : rate(found->second);
}

bool fetch_planner::asked_somewhere(chunk_id chunk) const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [&](const auto& p) { return p.second.asked.contains(chunk); });
}

bool fetch_planner::can_have(const peer_state& peer, chunk_id chunk) const {
  return peer.here && peer.has.has(chunk) && !peer.wrong.contains(chunk);
}

void fetch_planner::order() {
  if (!turns_are_old_)
    return;
  turns_.clear();
  for (const auto& [chunk, want] : wanted_) {
    uint32_t holders = 0;
    for (const auto& [id, peer] : peers_)
      holders += peer.here && peer.has.has(chunk);
    turns_.push_back({want.priority, holders, chunk});
  }
  std::sort(turns_.begin(), turns_.end());
  turns_are_old_ = false;
}

std::optional<fetch_planner::sent> fetch_planner::take_back(peer_state& peer, chunk_id chunk) {
  auto found = peer.asked.find(chunk);
  if (found == peer.asked.end())
    return std::nullopt;
  auto request = found->second;
  peer.asked.erase(found);
  peer.asked_bytes -= length(chunk);
  return request;
}

void fetch_planner::attempt_failed(chunk_id chunk) {
  auto found = wanted_.find(chunk);
  if (found == wanted_.end() || ++found->second.attempts < options_.most_attempts)
    return;
  wanted_.erase(found);
  failed_.insert(chunk);
}

/// However many requests run out together, the peer was late once.
void fetch_planner::expire(uint64_t now_us) {
  for (auto& [id, peer] : peers_) {
    std::vector<chunk_id> late;
    for (const auto& [chunk, request] : peer.asked)
      if (request.deadline_us <= now_us)
        late.push_back(chunk);
    for (auto chunk : late) {
      take_back(peer, chunk);
      peer.late.insert(chunk);
      attempt_failed(chunk);
    }
    if (late.empty())
      continue;
    peer.paused_until_us =
        now_us + doubled(options_.pause_us, peer.timeouts++, options_.most_pause_us);
    peer.bytes_per_us = std::max(least_bytes_per_us, rate(peer) / 2);
  }
}

std::vector<fetch_planner::candidate> fetch_planner::candidates(uint64_t now_us) {
  std::vector<candidate> all;
  for (auto& [id, peer] : peers_)
    if (peer.here && peer.paused_until_us <= now_us && peer.distrusted_until_us <= now_us)
      all.push_back({id, &peer, peer.asked_bytes});
  return all;
}

uint32_t fetch_planner::free_slots(const std::vector<candidate>& among) const {
  uint32_t free = 0;
  for (const auto& c : among)
    if (c.peer->asked.size() < options_.most_outstanding)
      free += options_.most_outstanding - static_cast<uint32_t>(c.peer->asked.size());
  return free;
}

/// Who would have delivered it first; those who were late with it only if there is nobody else.
fetch_planner::candidate* fetch_planner::soonest(std::vector<candidate>& among,
                                                 chunk_id chunk) const {
  candidate* best = nullptr;
  std::pair<bool, double> least;
  for (auto& c : among) {
    if (!can_have(*c.peer, chunk))
      continue;
    auto finish = static_cast<double>(c.load_bytes + length(chunk)) / rate(*c.peer);
    std::pair cost(c.peer->late.contains(chunk), finish);
    if (!best || cost < least)
      best = &c, least = cost;
  }
  return best;
}

fetch_request fetch_planner::ask(candidate& whom, chunk_id chunk, uint64_t now_us) {
  auto& peer = *whom.peer;
  peer.asked_bytes += length(chunk);
  auto expected = static_cast<double>(peer.asked_bytes) / rate(peer);
  auto most = static_cast<double>(options_.most_timeout_us);
  auto timeout = std::max(options_.least_timeout_us,
                          static_cast<uint64_t>(std::min(timeout_factor * expected, most)));
  peer.asked[chunk] = {now_us, now_us + timeout};
  return {whom.id, chunk, now_us + timeout};
}

/// A chunk whose soonest peer is busy waits for it, and counts as that peer's load: so that a slow
/// peer is asked for later chunks as soon as the queue before the fast one is longer.
std::vector<fetch_request> fetch_planner::plan(uint64_t now_us) {
  expire(now_us);
  order();
  std::vector<fetch_request> requests;
  auto among = candidates(now_us);
  auto free = free_slots(among);
  uint32_t looked_at = 0;
  for (const auto& t : turns_) {
    if (free == 0 || looked_at == look_ahead)
      break;
    if (!wanted_.contains(t.chunk) || asked_somewhere(t.chunk))
      continue;
    auto* whom = soonest(among, t.chunk);
    if (!whom)
      continue;
    ++looked_at;
    if (whom->peer->asked.size() < options_.most_outstanding) {
      requests.push_back(ask(*whom, t.chunk, now_us));
      --free;
    }
    whom->load_bytes += length(t.chunk);
  }
  return requests;
}

uint64_t fetch_planner::next_time_us(uint64_t now_us) const {
  uint64_t next = UINT64_MAX;
  for (const auto& [id, peer] : peers_) {
    for (const auto& [chunk, request] : peer.asked)
      next = std::min(next, request.deadline_us);
    auto silent = std::max(peer.paused_until_us, peer.distrusted_until_us);
    if (peer.here && silent > now_us && !wanted_.empty())
      next = std::min(next, silent);
  }
  return next;
}

void fetch_planner::arrived(peer_id id, chunk_id chunk, uint64_t now_us) {
  wanted_.erase(chunk);
  failed_.erase(chunk);
  auto found = peers_.find(id);
  if (found == peers_.end())
    return;
  auto& peer = found->second;
  peer.timeouts = 0;
  peer.paused_until_us = 0;
  peer.late.erase(chunk);
  if (auto request = take_back(peer, chunk)) {
    // Of several requests under way, this one had the link since the one before was done.
    auto began = std::max(request->at_us, peer.delivered_us);
    auto took = std::max<uint64_t>(1, now_us - std::min(now_us, began));
    auto measured = static_cast<double>(length(chunk)) / static_cast<double>(took);
    auto& average = peer.bytes_per_us;
    average = average > 0 ? average + newest_weight * (measured - average) : measured;
    average = std::max(average, least_bytes_per_us);
  }
  peer.delivered_us = now_us;
}

void fetch_planner::lied(peer_id id, chunk_id chunk, uint64_t now_us) {
  auto found = peers_.find(id);
  if (found == peers_.end() || index(chunk) >= description_.chunks())
    return;
  auto& peer = found->second;
  if (take_back(peer, chunk)) // what nobody asked for must not use up the attempts
    attempt_failed(chunk);
  peer.wrong.insert(chunk);
  peer.distrusted_until_us = now_us + options_.distrust_us;
  peer.asked.clear(); // what else it sends may still be right, but nobody waits for it
  peer.asked_bytes = 0;
}

void fetch_planner::refused(peer_id id, chunk_id chunk, uint64_t now_us) {
  auto found = peers_.find(id);
  if (found == peers_.end())
    return;
  auto& peer = found->second;
  peer.delivered_us = now_us;
  peer.timeouts = 0;
  peer.has.remove(chunk);
  if (take_back(peer, chunk))
    attempt_failed(chunk);
}

void fetch_planner::released(peer_id id, chunk_id chunk) {
  if (auto found = peers_.find(id); found != peers_.end())
    take_back(found->second, chunk);
}

bool fetch_planner::obtainable(chunk_id chunk, uint64_t now_us) const {
  return !failed_.contains(chunk) && std::any_of(peers_.begin(), peers_.end(), [&](const auto& p) {
    return can_have(p.second, chunk) && p.second.distrusted_until_us <= now_us;
  });
}

fetch_progress fetch_planner::progress(uint64_t now_us) const {
  fetch_progress p;
  for (const auto& [id, peer] : peers_)
    p.outstanding += static_cast<uint32_t>(peer.asked.size());
  for (const auto& [chunk, want] : wanted_) {
    ++p.wanted;
    p.wanted_bytes += length(chunk);
    bool somebody = false;
    for (const auto& [id, peer] : peers_)
      somebody = somebody || (can_have(peer, chunk) && peer.distrusted_until_us <= now_us);
    p.without_peer += !somebody;
  }
  return p;
}

} // namespace coel::model
