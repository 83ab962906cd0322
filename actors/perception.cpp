#include "actors/perception.hpp"

#include "actors/errors.hpp"
#include "actors/link.hpp"
#include "actors/resolver.hpp"
#include "net/node_record.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace coel::actors {

namespace {

using self_ptr = perception_actor::stateful_pointer<perception_state>;
using neighbour = perception_state::neighbour;
using entry = std::pair<const uint64_t, neighbour>;

constexpr std::chrono::milliseconds tick_every{1000};

void publish(self_ptr self) {
  auto& st = self->state;
  auto to = caf::actor_cast<caf::strong_actor_ptr>(st.updater);
  if (!to)
    return;
  auto all = std::make_shared<std::vector<member>>();
  for (const auto& [serial, n] : st.neighbours)
    if (!n.key.empty())
      all->push_back({n.id, n.key, n.name, n.endpoint, n.link, n.up, n.record});
  self->send(caf::actor_cast<updater_actor>(to), members_ptr(std::move(all)));
}

template <class Match>
entry* find_if(perception_state& st, Match match) {
  auto at = std::find_if(st.neighbours.begin(), st.neighbours.end(),
                         [&](const auto& e) { return match(e.second); });
  return at == st.neighbours.end() ? nullptr : &*at;
}

node_id id_of(perception_state& st, const std::string& key) {
  auto fresh = static_cast<node_id>(st.ids.size() + 1); // 0 is this node
  return st.ids.emplace(key, fresh).first->second;
}

entry* add(self_ptr self, const std::string& endpoint) {
  auto& st = self->state;
  if (st.neighbours.size() >= st.config.max_links) {
    ++st.refused_strangers;
    return nullptr;
  }
  const auto& c = st.config;
  link_config one{++st.serials, {}, c.to, c.own, c.context, self, c.models, c.library, c.wire};
  one.to.endpoint = endpoint;
  neighbour fresh;
  fresh.endpoint = endpoint;
  fresh.link = self->spawn(link, std::move(one));
  fresh.heard = steady::now();
  if (st.record)
    self->send(fresh.link, atom::tell::value, st.record);
  return &*st.neighbours.emplace(st.serials, std::move(fresh)).first;
}

void remove(self_ptr self, uint64_t serial) {
  auto& st = self->state;
  auto gone = std::move(st.neighbours.extract(serial).mapped());
  self->send_exit(gone.link, caf::exit_reason::user_shutdown);
  if (gone.key.empty())
    return;
  auto* other = find_if(st, [&](const neighbour& n) { return n.key == gone.key; });
  if (other)
    st.config.directory->set(gone.key, other->second.link);
  else
    st.config.directory->erase(gone.key);
}

/// From now on the frames under this key are that link's. Another node may have had its endpoint.
void claim(self_ptr self, entry& who, const std::string& key) {
  auto& st = self->state;
  if (!who.second.key.empty())
    st.config.directory->erase(who.second.key);
  who.second.record = nullptr;
  who.second.key = key;
  who.second.id = id_of(st, key);
  st.config.directory->set(key, who.second.link);
  self->send(who.second.link, atom::begin::value, who.second.id);
}

void heard(self_ptr self, const std::string& endpoint) {
  auto& st = self->state;
  if (st.aliases.contains(endpoint))
    return;
  if (auto* known = find_if(st, [&](const neighbour& n) { return n.endpoint == endpoint; }))
    known->second.heard = steady::now();
  else
    add(self, endpoint);
}

/// Whose greeting this is: of the link that waits for this answer, of the link that this key has,
/// of a node that was heard there, or of one that found us first.
entry* owner_of(self_ptr self, const stranger& from, const net::greeting_frame& greeting) {
  auto& st = self->state;
  if (greeting.echo)
    return find_if(st, [&](const neighbour& n) { return n.nonce == greeting.echo; });
  const auto& address = greeting.link_address.empty() ? from.address : greeting.link_address;
  auto endpoint = "tcp://" + address + ":" + std::to_string(greeting.link_port);
  auto* mine = find_if(st, [&](const neighbour& n) { return n.key == from.key; });
  if (mine && (mine->second.up || mine->second.endpoint == endpoint))
    return mine;
  if (mine) // it has moved
    remove(self, mine->first);
  auto* known = find_if(st, [&](const neighbour& n) { return n.endpoint == endpoint; });
  if (known && known->second.up)
    return nullptr; // somebody else is there: two nodes say the same address
  return known ? known : add(self, endpoint);
}

void meet(self_ptr self, const stranger& from) {
  auto& st = self->state;
  auto bytes = bytes_of(from.frame);
  if (st.config.expelled.contains(from.key) ||
      net::kind_of(bytes) != net::link_frame_kind::greeting)
    return;
  auto greeting = net::decode_greeting(bytes);
  if (!greeting) {
    ++st.refused_strangers;
    return;
  }
  auto* owner = owner_of(self, from, *greeting);
  if (!owner)
    return;
  if (greeting->boot == st.config.own.boot) { // a way to this node itself
    st.aliases.insert(owner->second.endpoint);
    return remove(self, owner->first);
  }
  if (owner->second.key != from.key)
    claim(self, *owner, from.key);
  self->send(owner->second.link, atom::frame::value, from.frame);
}

/// Two endpoints of one machine were found: its second link is not needed.
bool is_second_way(self_ptr self, const link_event& news) {
  auto& st = self->state;
  auto& of = st.neighbours.at(news.serial);
  auto* other =
      find_if(st, [&](const neighbour& n) { return &n != &of && n.up && n.boot == news.boot; });
  if (!other)
    return false;
  st.aliases.insert(of.endpoint);
  return true;
}

void take_news(self_ptr self, const link_event& news) {
  auto& st = self->state;
  auto at = st.neighbours.find(news.serial);
  if (at == st.neighbours.end())
    return;
  auto& n = at->second;
  switch (news.what) {
  case link_event::kind::greeting:
    n.nonce = news.nonce;
    return;
  case link_event::kind::up:
    if (is_second_way(self, news))
      return remove(self, news.serial);
    n.up = true;
    st.config.connected(n.endpoint, true);
    n.boot = news.boot;
    n.name = news.name;
    n.heard = steady::now();
    break;
  case link_event::kind::down:
    n.up = false;
    st.config.connected(n.endpoint, false);
    n.record = nullptr; // what it holds when it is back, it will say
    break;
  case link_event::kind::record:
    if (n.record && n.record->version >= news.record->version)
      return;
    n.record = news.record;
    break;
  case link_event::kind::reserve:
    if (auto updater = caf::actor_cast<caf::strong_actor_ptr>(st.updater))
      self->send(caf::actor_cast<updater_actor>(updater), atom::reserve::value, n.key,
                 news.reservation);
    return;
  case link_event::kind::drain:
    if (auto updater = caf::actor_cast<caf::strong_actor_ptr>(st.updater))
      self->send(caf::actor_cast<updater_actor>(updater), atom::drain::value);
    return;
  }
  publish(self);
}

void tick(self_ptr self) {
  auto& st = self->state;
  auto now = steady::now();
  std::vector<uint64_t> stale;
  for (const auto& [serial, n] : st.neighbours) {
    auto patience = n.key.empty() ? st.config.stranger_patience : st.config.forget_after;
    if (!n.up && now - n.heard > patience)
      stale.push_back(serial);
  }
  for (auto serial : stale)
    remove(self, serial);
  if (!stale.empty())
    publish(self);
  self->delayed_send(self, tick_every, atom::tick::value);
}

void tell(self_ptr self, const node_record& record) {
  auto& st = self->state;
  st.record = std::make_shared<const std::vector<std::byte>>(net::pack_node_record(record));
  for (const auto& [serial, n] : st.neighbours)
    self->send(n.link, atom::tell::value, st.record);
}

caf::result<std::string> expel(self_ptr self, const std::string& who) {
  auto& st = self->state;
  auto* found = find_if(
      st, [&](const neighbour& n) { return !n.key.empty() && (n.key == who || n.name == who); });
  std::string key = found ? found->second.key : who;
  if (!found && key.size() != net::key_chars)
    return to_caf({ec::bad_argument,
                   "no neighbour is called '" + who + "': give its name or its public key"});
  st.config.expelled.insert(key);
  st.config.refuse(key);
  if (found) {
    st.aliases.insert(found->second.endpoint); // what is heard from there is not tried again
    remove(self, found->first);
    publish(self);
  }
  return key;
}

caf::result<std::vector<link_status>> ask_details(self_ptr self) {
  auto promise = self->make_response_promise<std::vector<link_status>>();
  auto all = std::make_shared<std::vector<link_status>>();
  auto left = std::make_shared<size_t>(self->state.neighbours.size() + 1);
  auto over = [promise, all, left]() mutable {
    if (--*left == 0)
      promise.deliver(std::move(*all));
  };
  for (const auto& [serial, n] : self->state.neighbours)
    self->request(n.link, std::chrono::seconds(2), atom::details::value)
        .then(
            [all, over, id = n.id](const link_status& s) mutable {
              all->push_back(s);
              all->back().id = id;
              over();
            },
            [over](caf::error&) mutable { over(); });
  over();
  return promise;
}

} // namespace

perception_actor::behavior_type perception(self_ptr self, perception_config config) {
  auto& st = self->state;
  st.config = std::move(config);
  if (!st.config.peers.empty())
    self->spawn<caf::detached + caf::linked>(resolver, st.config.peers, perception_actor(self));
  self->delayed_send(self, tick_every, atom::tick::value);
  self->set_exit_handler([self](caf::exit_msg& end) {
    for (const auto& [serial, n] : self->state.neighbours)
      self->send_exit(n.link, end.reason);
    self->quit(std::move(end.reason));
  });
  return {
      [self](atom::status) { return self->state.cost.status(self, "perception"); },
      [self](atom::heard, const std::string& endpoint) { heard(self, endpoint); },
      [self](const stranger& from) { meet(self, from); },
      [self](const link_event& news) { take_news(self, news); },
      [self](atom::tick) { tick(self); },
      [self](atom::begin, const updater_actor& updater) {
        self->state.updater = caf::actor_cast<caf::weak_actor_ptr>(updater);
        publish(self);
      },
      [self](atom::tell, const std::shared_ptr<const node_record>& record) { tell(self, *record); },
      [self](atom::members) {
        auto all = std::make_shared<std::vector<member>>();
        for (const auto& [serial, n] : self->state.neighbours)
          if (!n.key.empty())
            all->push_back({n.id, n.key, n.name, n.endpoint, n.link, n.up, n.record});
        return members_ptr(std::move(all));
      },
      [self](atom::expel, const std::string& who) { return expel(self, who); },
      [self](atom::leave, const std::string& reason) {
        for (const auto& [serial, n] : self->state.neighbours)
          self->send(n.link, atom::leave::value, reason);
      },
      [self](atom::details) -> caf::result<std::vector<link_status>> { return ask_details(self); },
  };
}

} // namespace coel::actors
