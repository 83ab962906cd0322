#include "policy/neighbours.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace coel::policy {

namespace {

using namespace std::chrono_literals;

constexpr moment shortest_interval = 500ms; // so that a forged Htime does not keep us awake
constexpr int reordered = 8;                // packets; further back, the sender began anew
constexpr uint32_t most_losses = 8;         // at once; more change nothing, and few mean a restart
constexpr double no_quality = 1.0 / 1024;   // below it silence is no longer counted

bool can_be_a_node(ipv4_address x) {
  return x != 0 && x < 0xe0000000u; // no multicast, no broadcast
}

/// Silence counts when the next packet is late by a quarter.
moment next_loss_after(moment heard, moment interval) {
  return heard + interval + interval / 4;
}

} // namespace

void neighbours::set_connected(ipv4_address address, bool connected) {
  if (connected)
    connected_.insert(address);
  else
    connected_.erase(address);
}

bool neighbours::is_protected(ipv4_address address) const {
  return protected_.contains(address) || connected_.contains(address);
}

neighbours::events neighbours::hear(const heard_packet& packet, moment now) {
  events out;
  if (!can_be_a_node(packet.source) || own_.contains(packet.source))
    return out;
  auto at = find_or_add(packet, now, out);
  if (at == links_.end())
    return out;
  auto& [who, x] = *at;
  if (!count_packet(x, packet.sequence, now))
    return out;
  if (packet.hello) {
    sense(x, packet, now);
    learn_resources(who, x, packet.hello->free, out);
  }
  tell(who, x, now, out);
  if (packet.hello && x.symmetric) {
    forget_two_hop(x, now);
    learn_two_hop(x, *packet.hello, x.asymmetric_until);
  }
  if (packet.hello && x.free != free_resources{} && !connected_.contains(who.address))
    out.push_back({neighbour_event::what::heard, who.local, who.address, x.free});
  return out;
}

neighbours::table::iterator neighbours::find_current(const key& who, moment now, events& out) {
  auto at = links_.find(who);
  if (at == links_.end())
    return at;
  count_silence(at->second, now);
  tell(who, at->second, now, out);
  if (at->second.expires > now)
    return at;
  erase(at, out);
  return links_.end();
}

/// Section 7.1.1 step 1, where there is a place.
neighbours::table::iterator neighbours::find_or_add(const heard_packet& packet, moment now,
                                                    events& out) {
  key who{packet.local, packet.source};
  auto at = find_current(who, now, out);
  if (at != links_.end() || !packet.hello)
    return at;
  if (links_.size() >= options_.max_links && !make_room(is_protected(packet.source), now, out)) {
    ++refused_;
    return links_.end();
  }
  ++appeared_;
  link x;
  x.first_heard = now;
  x.sequence = static_cast<uint16_t>(packet.sequence - 1);
  return links_.emplace(who, std::move(x)).first;
}

/// Takes the place of the stranger who has been here longest without becoming symmetric. Who is
/// protected gets the place of any stranger, and at once.
bool neighbours::make_room(bool for_protected, moment now, events& out) {
  auto worth = [&](const auto& entry) {
    return std::tuple(entry.second.symmetric, entry.second.first_heard);
  };
  auto worst = links_.end();
  for (auto at = links_.begin(); at != links_.end(); ++at)
    if (!is_protected(at->first.address) && (worst == links_.end() || worth(*at) < worth(*worst)))
      worst = at;
  if (worst == links_.end())
    return false;
  bool had_its_chance = now - worst->second.first_heard >= options_.patience;
  if (!for_protected && (worst->second.symmetric || !had_its_chance))
    return false;
  erase(worst, out);
  return true;
}

/// Section 14.3 over packet numbers. False: older than one that was heard already.
bool neighbours::count_packet(link& x, uint16_t sequence, moment now) const {
  int ahead = static_cast<int16_t>(static_cast<uint16_t>(sequence - x.sequence));
  if (ahead < 0 && ahead >= -reordered)
    return false;
  if (ahead == 0) // came by broadcast and by unicast
    return true;
  auto missed = ahead > 0 ? static_cast<uint32_t>(ahead - 1) : 0;
  missed -= std::min(missed, x.silent_losses);
  for (auto n = std::min(missed, most_losses); n > 0; --n)
    lose(x, now);
  gain(x);
  x.sequence = sequence;
  x.silent_losses = 0;
  x.last_heard = now;
  x.next_loss = next_loss_after(now, std::max(x.interval, shortest_interval));
  return true;
}

void neighbours::gain(link& x) const {
  bool first = x.quality == 0;
  x.quality = first ? options_.scaling : x.quality * (1 - options_.scaling) + options_.scaling;
  if (x.quality > options_.high) {
    x.pending = false;
    x.lost_until = 0us;
  }
}

void neighbours::lose(link& x, moment now) const {
  x.quality *= 1 - options_.scaling;
  if (x.quality >= options_.low)
    return;
  // A link that was never up has nothing to be lost.
  if (!x.pending)
    x.lost_until = std::min(x.expires, now + options_.hold);
  x.pending = true;
}

/// Section 7.1.1 step 2.
void neighbours::sense(link& x, const heard_packet& packet, moment now) const {
  const auto& hello = *packet.hello;
  auto until = now + std::clamp(hello.validity, shortest_interval, options_.longest_validity);
  x.asymmetric_until = until;
  for (const auto& said : hello.links) {
    if (said.address != packet.local || said.link == link_status::unspecified)
      continue;
    if (said.link == link_status::lost) {
      x.symmetric_until = now;
    } else {
      x.symmetric_until = until;
      x.expires = until + options_.hold;
    }
  }
  x.expires = std::max(x.expires, x.asymmetric_until);
  x.interval = std::clamp(hello.interval, shortest_interval, options_.longest_validity);
  x.next_loss = next_loss_after(now, x.interval);
}

void neighbours::learn_resources(const key& who, link& x, const free_resources& free, events& out) {
  auto old = x.free;
  if (free.compute)
    x.free.compute = free.compute;
  if (free.memory)
    x.free.memory = free.memory;
  if (x.symmetric && x.free != old)
    out.push_back({neighbour_event::what::status_changed, who.local, who.address, x.free});
}

/// Section 8.2.1.
void neighbours::learn_two_hop(link& x, const heard_hello& hello, moment until) {
  for (const auto& said : hello.links) {
    if (own_.contains(said.address) || !can_be_a_node(said.address))
      continue;
    auto known = x.two_hop.find(said.address);
    if (!said.neighbour) {
      two_hop_ -= x.two_hop.erase(said.address);
    } else if (known != x.two_hop.end()) {
      known->second = until;
    } else if (two_hop_ < options_.max_two_hop && x.two_hop.size() < options_.max_two_hop_of_one) {
      x.two_hop.emplace(said.address, until);
      ++two_hop_;
    }
  }
}

bool neighbours::is_symmetric(const link& x, moment now) const {
  return !x.pending && x.lost_until <= now && now < x.symmetric_until;
}

/// Section 14.2.
link_status neighbours::status(const link& x, moment now) const {
  if (now < x.lost_until)
    return link_status::lost;
  if (x.pending)
    return link_status::unspecified;
  if (now < x.symmetric_until)
    return link_status::symmetric;
  return now < x.asymmetric_until ? link_status::asymmetric : link_status::lost;
}

/// Tells when a link became symmetric or ceased to be; a lost neighbour's two-hop go with it.
void neighbours::tell(const key& who, link& x, moment now, events& out) {
  bool symmetric = is_symmetric(x, now);
  if (symmetric == x.symmetric)
    return;
  x.symmetric = symmetric;
  using what = neighbour_event::what;
  out.push_back({symmetric ? what::symmetric : what::lost, who.local, who.address, x.free});
  if (symmetric)
    return;
  two_hop_ -= x.two_hop.size();
  x.two_hop.clear();
}

neighbours::events neighbours::advance(moment now) {
  events out;
  for (auto at = links_.begin(); at != links_.end();) {
    auto& [who, x] = *at;
    count_silence(x, now);
    tell(who, x, now, out);
    forget_two_hop(x, now);
    at = x.expires <= now ? erase(at, out) : std::next(at);
  }
  return out;
}

void neighbours::count_silence(link& x, moment now) const {
  while (x.next_loss <= now) {
    lose(x, x.next_loss);
    ++x.silent_losses;
    x.next_loss = x.quality < no_quality ? moment::max() : x.next_loss + x.interval;
  }
}

void neighbours::forget_two_hop(link& x, moment now) {
  two_hop_ -= std::erase_if(x.two_hop, [&](const auto& entry) { return entry.second <= now; });
}

neighbours::table::iterator neighbours::erase(table::iterator at, events& out) {
  const auto& [who, x] = *at;
  if (x.symmetric)
    out.push_back({neighbour_event::what::lost, who.local, who.address, x.free});
  two_hop_ -= x.two_hop.size();
  return links_.erase(at);
}

moment neighbours::next_deadline() const {
  auto first = moment::max();
  for (const auto& [who, x] : links_) {
    first = std::min({first, x.next_loss, x.expires});
    if (x.symmetric)
      first = std::min(first, x.symmetric_until);
  }
  return first;
}

std::vector<said_link> neighbours::say(ipv4_address local, moment now) const {
  std::vector<said_link> out;
  for (auto at = links_.lower_bound({local, 0}); at != links_.end() && at->first.local == local;
       ++at) {
    auto how = status(at->second, now);
    if (how != link_status::unspecified)
      out.push_back({at->first.address, how, how == link_status::symmetric});
  }
  return out;
}

std::vector<neighbour_view> neighbours::view(moment now) const {
  std::vector<neighbour_view> out;
  for (const auto& [who, x] : links_) {
    neighbour_view line{who.local,
                        who.address,
                        status(x, now),
                        x.quality,
                        x.free,
                        now - x.last_heard,
                        connected_.contains(who.address),
                        {}};
    for (const auto& [address, until] : x.two_hop)
      if (until > now)
        line.two_hop.push_back(address);
    out.push_back(std::move(line));
  }
  return out;
}

} // namespace coel::policy
