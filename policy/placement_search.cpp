#include "policy/placement_search.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

namespace coel::policy {

namespace {

class searcher {
 public:
  searcher(const cost_model& costs, const home_traffic& traffic, expert_map map,
           const std::vector<uint64_t>& room, const search_options& options)
      : costs_(costs), traffic_(traffic), map_(std::move(map)), best_(map_), options_(options),
        random_(options.seed) {
    const auto& m = costs.model();
    users_.resize(map_.hosts.size());
    std::vector<double> tokens(map_.nodes);
    for (auto h : traffic.home)
      tokens[h] += 1;
    for (size_t t = 0; t < traffic.trace.tokens(); ++t) {
      weight_.push_back(traffic.weight[traffic.home[t]] / tokens[traffic.home[t]]);
      for (uint32_t l = 0; l < m.layers; ++l)
        for (auto e : traffic.trace.at(t, l))
          users_[map_.item(l, e)].push_back(static_cast<uint32_t>(t));
    }
    now_.resize(traffic.trace.tokens() * m.layers);
    for (size_t t = 0; t < weight_.size(); ++t)
      for (uint32_t l = 0; l < m.layers; ++l)
        total_ += now_[t * m.layers + l] = price(static_cast<uint32_t>(t), l);
    for (uint32_t s = 0; s < map_.nodes; ++s) {
      left_.push_back(room[s] - std::min(room[s], map_.count(s)));
      std::vector<uint32_t> have(m.layers);
      for (size_t i = 0; i < map_.hosts.size(); ++i)
        have[i / map_.experts] += map_.holds(s, i);
      have_.push_back(std::move(have));
      even_.push_back(static_cast<double>(map_.count(s)) / m.layers);
    }
  }

  expert_map solve() {
    double best = total_;
    double heat0 = options_.heat / std::max<double>(1, static_cast<double>(weight_.size())) *
                   total_ / costs_.model().layers;
    for (uint32_t i = 0; i < options_.moves; ++i) {
      double rest = 1 - static_cast<double>(i) / options_.moves;
      step(heat0 * rest * rest);
      if (total_ < best - 1e-9) {
        best = total_;
        best_ = map_;
      }
    }
    return std::move(best_);
  }

 private:
  struct change {
    size_t item;
    node_set before, after;
  };

  double unit() { return static_cast<double>(random_() >> 11) * 0x1p-53; }
  double price(uint32_t token, uint32_t l) const {
    return weight_[token] *
           costs_.layer(map_, l, traffic_.trace.at(token, l), traffic_.home[token]).us;
  }

  /// `out` leaves node s, `in` enters it.
  void step(double heat) {
    auto s = static_cast<uint32_t>(random_() % map_.nodes);
    size_t out = random_() % map_.hosts.size();
    size_t in = random_() % 10 < 7 ? out / map_.experts * map_.experts + random_() % map_.experts
                                   : random_() % map_.hosts.size();
    if (out == in || map_.holds(s, in))
      return;
    change a{out, map_.hosts[out], map_.hosts[out]},
        b{in, map_.hosts[in], map_.hosts[in] | only(s)};
    uint32_t giver = map_.nodes;
    if (map_.holds(s, out)) {
      a.after &= ~only(s);
      if (!a.after && !b.before) { // homes read this one from now on, instead of the other
        if (out % map_.experts + costs_.model().slices >= map_.experts)
          return;
      } else if (!a.after) { // the only copy goes to a node that gives up the other expert
        auto nth = random_() % static_cast<unsigned>(std::popcount(b.before));
        auto donors = b.before;
        for (; nth; --nth)
          donors &= donors - 1;
        giver = static_cast<uint32_t>(std::countr_zero(donors));
        a.after = only(giver);
        b.after &= ~only(giver);
      }
    } else if (!left_[s]) {
      return;
    }
    if (options_.quota_slack > 0 && !within_quota(s, giver, a, b))
      return;
    try_changes(s, giver, a, b, heat);
  }

  bool within_quota(uint32_t s, uint32_t giver, const change& a, const change& b) const {
    auto la = a.item / map_.experts, lb = b.item / map_.experts;
    if (la == lb && a.before != a.after)
      return true;
    auto fits = [&](uint32_t n, uint32_t have) {
      return std::abs(have - even_[n]) <= std::max(1.0, options_.quota_slack * even_[n]);
    };
    bool ok = fits(s, have_[s][lb] + 1) && (a.before == a.after || fits(s, have_[s][la] - 1));
    if (giver < map_.nodes)
      ok = ok && fits(giver, have_[giver][lb] - 1) && fits(giver, have_[giver][la] + 1);
    return ok;
  }

  void try_changes(uint32_t s, uint32_t giver, const change& a, const change& b, double heat) {
    bool swap = a.before != a.after;
    map_.hosts[a.item] = a.after;
    map_.hosts[b.item] = b.after;
    fresh_.clear();
    double gain = 0;
    auto reprice = [&](size_t item) {
      auto l = static_cast<uint32_t>(item / map_.experts);
      for (auto t : users_[item]) {
        size_t at = size_t{t} * costs_.model().layers + l;
        double p = price(t, l);
        gain += now_[at] - p; // a token that uses both is seen twice, the second time at no gain
        fresh_.emplace_back(at, now_[at]);
        now_[at] = p;
      }
    };
    if (swap)
      reprice(a.item);
    reprice(b.item);
    bool free = !swap && gain >= 0;
    if (free || gain > 0 || (heat > 0 && unit() < std::exp(gain / heat))) {
      total_ -= gain;
      settle(s, giver, a, b, swap);
      return;
    }
    map_.hosts[a.item] = a.before;
    map_.hosts[b.item] = b.before;
    for (auto i = fresh_.rbegin(); i != fresh_.rend(); ++i)
      now_[i->first] = i->second;
  }

  void settle(uint32_t s, uint32_t giver, const change& a, const change& b, bool swap) {
    auto la = a.item / map_.experts, lb = b.item / map_.experts;
    ++have_[s][lb];
    if (swap)
      --have_[s][la];
    else
      --left_[s];
    if (giver < map_.nodes) {
      --have_[giver][lb];
      ++have_[giver][la];
    }
  }

  const cost_model& costs_;
  const home_traffic& traffic_;
  expert_map map_, best_;
  search_options options_;
  std::mt19937_64 random_;
  std::vector<std::vector<uint32_t>> users_; // [items] tokens, each once
  std::vector<double> weight_;               // [tokens]
  std::vector<double> now_;                  // [tokens, layers]
  std::vector<std::pair<size_t, double>> fresh_;
  double total_ = 0;
  std::vector<uint64_t> left_;
  std::vector<std::vector<uint32_t>> have_; // [nodes][layers]
  std::vector<double> even_;
};

} // namespace

expert_map search_placement(const cost_model& costs, const home_traffic& traffic, expert_map map,
                            const std::vector<uint64_t>& room, const search_options& options) {
  if (map.nodes < 2 || !options.moves || !traffic.trace.tokens())
    return map;
  return searcher(costs, traffic, std::move(map), room, options).solve();
}

} // namespace coel::policy
