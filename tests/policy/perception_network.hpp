// Nodes that say HELLO over a network that drops, delays and reorders, all from one seed. Time is
// simulated.
#pragma once

#include "policy/neighbours.hpp"
#include "policy/perception.hpp"

#include <functional>
#include <map>
#include <random>
#include <string>

namespace coel::policy::test {

struct network_options {
  double loss = 0;             ///< of a packet on its way to one node
  moment longest_delay{1'000}; ///< uniform; above a HELLO interval packets overtake each other
  neighbour_options table;
};

class network {
 public:
  struct node {
    neighbours table;
    hello_schedule schedule;
    uint16_t sequence = 0;
    neighbours::events told;
    bool alive = true;
    uint32_t sent = 0;
  };

  network(size_t count, uint32_t seed, network_options options) : options_(options), random_(seed) {
    for (size_t i = 0; i < count; ++i) {
      nodes_.push_back(make(i));
      nodes_.back().sequence = static_cast<uint16_t>(random_());
    }
  }

  /// 10.0.0.1, 10.0.0.2, ...
  static constexpr ipv4_address address(size_t i) {
    return 0x0a000001u + static_cast<ipv4_address>(i);
  }

  node& at(size_t i) { return nodes_[i]; }
  moment now() const { return now_; }

  /// Whether what `from` sends reaches `to` at all.
  std::function<bool(size_t from, size_t to)> reaches = [](size_t, size_t) { return true; };

  void set_quality(double loss, moment longest_delay) {
    options_.loss = loss;
    options_.longest_delay = longest_delay;
  }

  void run(moment duration) {
    auto end = now_ + duration;
    while (step(end)) {
    }
    now_ = end;
    for (auto& x : nodes_)
      if (x.alive)
        take(x, x.table.advance(now_));
  }

  /// Forgets everything, as after a crash.
  void restart(size_t i) {
    auto told = std::move(nodes_[i].told);
    nodes_[i] = make(i);
    nodes_[i].sequence = static_cast<uint16_t>(random_());
    nodes_[i].told = std::move(told);
  }

  link_status status(size_t of, size_t at_node) {
    for (const auto& x : nodes_[at_node].table.view(now_))
      if (x.address == address(of))
        return x.status;
    return link_status::unspecified;
  }

  size_t count(size_t at_node, neighbour_event::what kind) {
    size_t n = 0;
    for (const auto& x : nodes_[at_node].told)
      n += x.kind == kind;
    return n;
  }

  bool all_symmetric() {
    for (size_t a = 0; a < nodes_.size(); ++a)
      for (size_t b = 0; b < nodes_.size(); ++b)
        if (a != b && status(a, b) != link_status::symmetric)
          return false;
    return true;
  }

 private:
  struct flying {
    size_t to;
    heard_packet packet;
  };

  node make(size_t i) {
    node x{neighbours(options_.table), hello_schedule({}, random_(), now_), 0, {}, true, 0};
    x.table.set_own({address(i)});
    x.schedule.set_load({100, 100}, now_);
    return x;
  }

  static void take(node& x, neighbours::events more) {
    x.told.insert(x.told.end(), more.begin(), more.end());
  }

  /// The next thing that happens before `end`; false if nothing does.
  bool step(moment end) {
    auto due = end;
    for (auto& x : nodes_)
      if (x.alive)
        due = std::min({due, x.schedule.next(), x.table.next_deadline()});
    if (!flying_.empty())
      due = std::min(due, flying_.begin()->first);
    if (due >= end)
      return false;
    now_ = std::max(now_, due);
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].alive)
        wake(i);
    deliver();
    return true;
  }

  void wake(size_t i) {
    auto& x = nodes_[i];
    take(x, x.table.advance(now_));
    if (x.schedule.next() > now_)
      return;
    heard_packet packet{0, address(i), x.sequence++, heard_hello{}};
    packet.hello->free = x.schedule.send(now_);
    packet.hello->links = x.table.say(address(i), now_);
    ++x.sent;
    for (size_t to = 0; to < nodes_.size(); ++to) {
      bool lost = static_cast<double>(random_()) < options_.loss * 4294967296.0;
      auto delay = moment(1 + random_() % options_.longest_delay.count());
      packet.local = address(to);
      if (to != i && !lost && reaches(i, to))
        flying_.emplace(now_ + delay, flying{to, packet});
    }
  }

  void deliver() {
    while (!flying_.empty() && flying_.begin()->first <= now_) {
      auto one = std::move(flying_.begin()->second);
      flying_.erase(flying_.begin());
      if (nodes_[one.to].alive)
        take(nodes_[one.to], nodes_[one.to].table.hear(one.packet, now_));
    }
  }

  network_options options_;
  std::mt19937 random_;
  moment now_{0};
  std::vector<node> nodes_;
  std::multimap<moment, flying> flying_;
};

} // namespace coel::policy::test
