#include "policy/hub_simulator.hpp"

#include <algorithm>
#include <bit>
#include <queue>

namespace coel::policy {

namespace {

/// A session's next layer.
struct step_event {
  double at;
  uint32_t session;
  uint32_t token; ///< 0: the prompt
  uint32_t layer;
  bool operator<(const step_event& o) const { return at != o.at ? at > o.at : session > o.session; }
};

class hub {
 public:
  hub(const cost_model& costs, const expert_map& map, const home_traffic& traffic,
      const hub_load& load)
      : costs_(costs), map_(map), traffic_(traffic), load_(load), homes_(traffic.homes()),
        device_(map.nodes), card_(map.nodes) {
    for (auto h : homes_) {
      times_.resize(std::max<size_t>(times_.size(), h + 1));
      times_[h] = times_of(costs.nodes()[h], costs.model());
    }
  }

  hub_times run() {
    std::priority_queue<step_event> events;
    for (uint32_t s = 0; s < load_.sessions; ++s)
      events.push({0.01 * s, s, 0, 0});
    hub_times out;
    double last = 0;
    while (!events.empty()) {
      auto e = events.top();
      events.pop();
      if (e.layer == costs_.model().layers) {
        auto h = home_of(e.session);
        e.at = use(h, e.at, times_[h].head_us);
        if (e.token == 0)
          out.first_token_us += e.at / load_.sessions;
        e.layer = 0;
        if (++e.token > load_.answer_tokens) {
          out.request_us += e.at / load_.sessions;
          last = std::max(last, e.at);
          continue;
        }
      }
      e.at = e.token ? decode(e) : prompt(e);
      ++e.layer;
      events.push(e);
    }
    out.tokens_per_s = 1e6 * load_.sessions * load_.answer_tokens / std::max(last, 1e-9);
    return out;
  }

 private:
  uint32_t home_of(uint32_t session) const { return homes_[session % homes_.size()]; }
  double use(uint32_t node, double from, double us) {
    return device_[node] = std::max(device_[node], from) + us;
  }
  size_t token_of(const step_event& e, uint32_t row) const {
    return (size_t{e.session} * 7919 + size_t{e.token} * 31 + row) % traffic_.trace.tokens();
  }

  /// One host's rows there, through it and back.
  double visit(uint32_t home, uint32_t node, double from, double busy, double rows) {
    if (node == home)
      return use(home, from, busy);
    const auto& l = costs_.lane(home, node);
    const auto& link = costs_.network().between(home, node);
    double way = rows * l.wire_us_per_row / 2;
    card_[home] = std::max(card_[home], from) + way;
    double handling = l.fixed_us - link.rtt_us;
    return use(node, card_[home] + link.rtt_us / 2, busy + handling) + link.rtt_us / 2 + way;
  }

  double decode(const step_event& e) {
    auto h = home_of(e.session);
    double t = use(h, e.at, times_[h].layer_us), done = t;
    std::vector<double> busy(map_.nodes);
    auto c = costs_.layer(map_, e.layer, traffic_.trace.at(token_of(e, 0), e.layer), h, &busy);
    for (auto s = c.used & ~only(h); s; s &= s - 1) { // what leaves goes first
      auto n = static_cast<uint32_t>(std::countr_zero(s));
      done = std::max(done, visit(h, n, t, busy[n], 1));
    }
    if (c.used >> h & 1)
      done = std::max(done, use(h, t, busy[h]));
    return done;
  }

  double prompt(const step_event& e) {
    auto h = home_of(e.session);
    double n = load_.prompt_tokens;
    double t = use(h, e.at, times_[h].layer_us + std::max(0.0, n - 1) * times_[h].layer_row_us);
    std::vector<double> rows(map_.experts), busy(map_.nodes), touched(map_.nodes);
    for (uint32_t r = 0; r < load_.prompt_tokens; ++r) {
      node_set seen = 0;
      for (auto x : traffic_.trace.at(token_of(e, r), e.layer)) {
        auto hosts = map_.hosts[map_.item(e.layer, x)];
        auto at = hosts >> h & 1 ? h : static_cast<uint32_t>(std::countr_zero(hosts));
        rows[x] += 1;
        seen |= only(at);
      }
      for (; seen; seen &= seen - 1)
        touched[static_cast<size_t>(std::countr_zero(seen))] += 1;
    }
    for (uint32_t x = 0; x < map_.experts; ++x) {
      auto hosts = map_.hosts[map_.item(e.layer, x)];
      auto at = hosts >> h & 1 ? h : static_cast<uint32_t>(std::countr_zero(hosts));
      const auto& s = costs_.lane(h, at).speed;
      // Reading the expert hides behind the arithmetic of many rows.
      if (rows[x] > 0)
        busy[at] += std::max(s.expert_us + s.row_us, rows[x] * s.row_us);
    }
    double done = t;
    for (uint32_t s = 0; s < map_.nodes; ++s)
      if (s != h && touched[s] > 0)
        done = std::max(done, visit(h, s, t, busy[s], touched[s]));
    return touched[h] > 0 ? std::max(done, use(h, t, busy[h])) : done;
  }

  const cost_model& costs_;
  const expert_map& map_;
  const home_traffic& traffic_;
  hub_load load_;
  std::vector<uint32_t> homes_;
  std::vector<double> device_, card_; // free from, [nodes]
  std::vector<node_times> times_;
};

} // namespace

hub_times simulate_hub(const cost_model& costs, const expert_map& map, const home_traffic& traffic,
                       const hub_load& load) {
  return hub(costs, map, traffic, load).run();
}

} // namespace coel::policy
