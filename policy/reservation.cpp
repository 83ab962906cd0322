#include "policy/reservation.hpp"

#include <algorithm>

namespace coel::policy {

using what = reservation_message::what;

uint64_t reservation_book::taken() const {
  uint64_t sum = 0;
  for (const auto& [id, e] : kept_)
    sum += e.bytes;
  return sum;
}

uint64_t reservation_book::confirmed() const {
  uint64_t sum = 0;
  for (const auto& [id, e] : kept_)
    sum += e.confirmed ? e.bytes : 0;
  return sum;
}

bool reservation_book::keeps(const reservation_id& id) const {
  auto at = kept_.find(id);
  return at != kept_.end() && at->second.confirmed;
}

void reservation_book::expire(moment now) {
  for (auto at = kept_.begin(); at != kept_.end();) {
    if (at->second.until > now) {
      ++at;
      continue;
    }
    forget(at->first);
    at = kept_.erase(at);
  }
}

void reservation_book::drop(const std::string& home) {
  for (auto at = kept_.begin(); at != kept_.end();) {
    bool its = at->first.home == home;
    if (its)
      forget(at->first);
    at = its ? kept_.erase(at) : std::next(at);
  }
}

std::map<std::string, uint64_t> reservation_book::by_home() const {
  std::map<std::string, uint64_t> out;
  for (const auto& [id, e] : kept_)
    out[id.home] += e.bytes;
  return out;
}

void reservation_book::forget(const reservation_id& id) {
  ended_.push_back(id);
  if (ended_.size() > options_.remembered)
    ended_.pop_front();
}

reservation_message reservation_book::hear(const reservation_message& m, moment now) {
  expire(now);
  auto reply = m;
  auto at = kept_.find(m.id);
  switch (m.kind) {
  case what::offer:
    return offer(m, now);
  case what::confirm:
    reply.kind = at == kept_.end() ? what::gone : what::confirmed;
    if (at != kept_.end()) {
      at->second.confirmed = true;
      at->second.until = now + options_.lease;
    }
    return reply;
  case what::release:
    if (at != kept_.end())
      kept_.erase(at);
    forget(m.id); // its offer may still be under way
    reply.kind = what::released;
    return reply;
  default:
    reply.kind = what::gone;
    return reply;
  }
}

reservation_message reservation_book::offer(const reservation_message& m, moment now) {
  auto reply = m;
  reply.kind = what::accept;
  if (kept_.count(m.id))
    return reply;
  bool late = std::find(ended_.begin(), ended_.end(), m.id) != ended_.end();
  if (late || !make_room(m.bytes, m.priority)) {
    reply.kind = what::reject;
    reply.bytes = free();
    return reply;
  }
  kept_.emplace(m.id, entry{m.bytes, m.priority, false, now + options_.offer});
  return reply;
}

/// Offers that are not confirmed yet give way to one of a higher priority.
bool reservation_book::make_room(uint64_t bytes, double priority) {
  uint64_t room = free();
  std::vector<std::pair<double, reservation_id>> weaker;
  for (const auto& [id, e] : kept_)
    if (!e.confirmed && e.priority < priority)
      weaker.emplace_back(e.priority, id);
  std::sort(weaker.begin(), weaker.end());
  size_t n = 0;
  for (uint64_t over = taken() > capacity_ ? taken() - capacity_ : 0;
       n < weaker.size() && room < bytes; ++n) {
    auto freed = kept_[weaker[n].second].bytes;
    room += freed - std::min(over, freed);
    over -= std::min(over, freed);
  }
  if (room < bytes)
    return false;
  for (size_t i = 0; i < n; ++i) {
    kept_.erase(weaker[i].second);
    forget(weaker[i].second);
  }
  return true;
}

region_reservation::region_reservation(reservation_id id, std::vector<part> parts, double priority,
                                       moment now, reservation_options options)
    : id_(std::move(id)), priority_(priority), options_(options), since_(now) {
  for (auto& p : parts)
    parts_[p.node].bytes += p.bytes;
}

bool region_reservation::all_answered() const {
  return std::all_of(parts_.begin(), parts_.end(), [](const auto& p) { return p.second.answered; });
}

std::set<std::string> region_reservation::nodes() const {
  std::set<std::string> out;
  for (const auto& [node, p] : parts_)
    out.insert(node);
  return out;
}

moment region_reservation::expires() const {
  moment first = moment::max();
  for (const auto& [node, p] : parts_)
    first = std::min(first, p.kept_until);
  return first;
}

std::vector<region_reservation::letter> region_reservation::ask(moment now, bool all) {
  auto kind = state_ == state::offering ? what::offer : what::confirm;
  std::vector<letter> out;
  for (auto& [node, p] : parts_) {
    bool due = p.sent.count() < 0 || now - p.sent >= options_.retry;
    if (!(all || (due && !p.answered)))
      continue;
    p.sent = now;
    out.push_back({node, {kind, id_, p.bytes, priority_, now}});
  }
  return out;
}

std::vector<region_reservation::letter> region_reservation::give_back(moment now) {
  std::vector<letter> out;
  for (auto& [node, p] : parts_)
    if (!p.answered && (p.sent.count() < 0 || now - p.sent >= options_.retry)) {
      p.sent = now;
      out.push_back({node, {what::release, id_, p.bytes, priority_, now}});
    }
  return out;
}

std::vector<region_reservation::letter> region_reservation::turn(state next, moment now) {
  state_ = next;
  since_ = now;
  for (auto& [node, p] : parts_) {
    p.answered = false;
    p.sent = moment{-1};
  }
  if (next == state::confirming)
    return ask(now, true);
  if (next == state::failed || next == state::released)
    return give_back(now);
  return {};
}

std::vector<region_reservation::letter>
region_reservation::hear(const std::string& from, const reservation_message& m, moment now) {
  auto at = parts_.find(from);
  if (at == parts_.end() || m.id != id_)
    return {};
  auto& p = at->second;
  switch (m.kind) {
  case what::accept:
    if (state_ != state::offering)
      return {};
    p.answered = true;
    return all_answered() ? turn(state::confirming, now) : std::vector<letter>{};
  case what::reject:
    if (state_ != state::offering)
      return {};
    why_ = from + " has only " + std::to_string(m.bytes) + " bytes free";
    return turn(state::failed, now);
  case what::confirmed: {
    if (state_ != state::confirming && state_ != state::held && state_ != state::broken)
      return {};
    p.answered = true;
    // Counted from sending: the helper counts from later.
    p.kept_until = std::max(p.kept_until, m.stamp + options_.lease);
    if (state_ == state::confirming && all_answered())
      state_ = state::held;
    return {};
  }
  case what::gone:
    if (state_ == state::confirming) {
      why_ = from + " gave its part to another";
      return turn(state::failed, now);
    }
    if (state_ == state::held) {
      why_ = from + " no longer keeps its part";
      state_ = state::broken;
    }
    return {};
  case what::released:
    if (state_ == state::failed || state_ == state::released)
      p.answered = true;
    return {};
  default:
    return {};
  }
}

std::vector<region_reservation::letter> region_reservation::advance(moment now) {
  switch (state_) {
  case state::offering:
  case state::confirming:
    if (now - since_ > options_.patience) {
      for (const auto& [node, p] : parts_)
        if (!p.answered)
          why_ = node + " did not answer in time";
      return turn(state::failed, now);
    }
    return ask(now, false);
  case state::held:
  case state::broken: {
    if (state_ == state::held && expires() <= now) {
      state_ = state::broken;
      why_ = "a helper did not renew its lease";
    }
    for (auto& [node, p] : parts_) // renewed when a third of the lease is over
      if (p.answered && p.kept_until - now < options_.lease * 2 / 3)
        p.answered = false;
    return ask(now, false);
  }
  case state::failed:
  case state::released:
    if (now - since_ > options_.patience) // who did not hear it lets the lease run out
      return {};
    return give_back(now);
  }
  return {};
}

std::vector<region_reservation::letter> region_reservation::release(moment now) {
  if (state_ == state::released || state_ == state::failed)
    return {};
  return turn(state::released, now);
}

} // namespace coel::policy
